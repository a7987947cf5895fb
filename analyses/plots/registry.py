"""The drawings by name: a result says which one it wants, so a file is drawn without the code that measured it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from html import escape
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.plots.left_out import left_out
from analyses.plots.theme import template
from probe.errors import ProbeError, nearest

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Drawing = Callable[[pd.DataFrame, Mapping[str, Any]], "Figure"]
_DRAWINGS: dict[str, Drawing] = {}


def drawing(name: str) -> Callable[[Drawing], Drawing]:
    """Call the function below by this name."""

    def register(draws: Drawing) -> Drawing:
        _DRAWINGS[name] = draws
        return draws

    return register


def known() -> list[str]:
    """The names of all drawings."""
    _import_all()
    return sorted(_DRAWINGS)


def draw(name: str, table: pd.DataFrame, about: Mapping[str, Any], title: str) -> Figure:
    """The drawing of that name, made of a table and of what is said about its columns."""
    _import_all()
    if name not in _DRAWINGS:
        raise ProbeError(
            f"the figure {title!r}",
            expected="a drawing that there is",
            found=repr(name),
            remedy=nearest(name, _DRAWINGS),
        )
    figure = _DRAWINGS[name](table, about)
    if words := left_out(figure):
        figure.update_layout(title_subtitle={"text": escape(words, quote=False), "font": {"size": 12}}, margin_t=92)
    return figure.update_layout(title_text=escape(title), template=template())


@cache
def _import_all() -> None:
    import analyses.plots as package

    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
