"""The drawings by name: a result names its drawing, so a saved one is drawn without the code that measured it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from html import escape
from importlib import import_module
from pkgutil import iter_modules
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.plots.left_out import left_out
from analyses.plots.theme import naming, template
from probe.errors import ProbeError, nearest

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Drawing = Callable[[pd.DataFrame, Mapping[str, Any]], "Figure"]
SUBTITLE = 120  # characters of a line below the title
_DRAWINGS: dict[str, Drawing] = {}


def drawing(name: str) -> Callable[[Drawing], Drawing]:
    """Register the decorated function under this name."""

    def register(draws: Drawing) -> Drawing:
        _DRAWINGS[name] = draws
        return draws

    return register


def known() -> list[str]:
    """The names of all drawings."""
    _import_all()
    return sorted(_DRAWINGS)


def draw(name: str, table: pd.DataFrame, about: Mapping[str, Any], title: str) -> Figure:
    """The figure of a table, by the drawing's name and the roles of its columns."""
    _import_all()
    if name not in _DRAWINGS:
        raise ProbeError(
            f"the figure {title!r}",
            expected="a drawing that there is",
            found=repr(name),
            remedy=nearest(name, _DRAWINGS),
        )
    with naming(table) as named:
        figure = _DRAWINGS[name](named, about)
    lines = wrap(left_out(figure), SUBTITLE)
    below = "<br>".join(escape(line, quote=False) for line in lines)
    top = 54 + 17 * (len(lines) + _lines_above(figure))
    if below:
        figure.update_layout(title_subtitle={"text": below, "font": {"size": 12}})
    height = figure.layout.height or 450
    at_the_top = {"text": escape(title), "x": 0.01, "xref": "container", "yref": "container", "yanchor": "top"}
    at_the_top["y"] = 1 - 16 / height
    return figure.update_layout(title=at_the_top, margin_t=top, template=template())


def _lines_above(figure: Figure) -> int:
    """How many lines the titles of the uppermost panels have."""
    notes: Any = figure.layout.annotations
    above = [str(note.text) for note in notes if note.yref == "paper" and (note.y or 0) > 0.99]
    return max((text.count("<br>") + 1 for text in above), default=0)


@cache
def _import_all() -> None:
    import analyses.plots as package

    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
