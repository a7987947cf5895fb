"""The drawings by name: a result says which one it wants, so a file is drawn without the code that measured it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from html import escape
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.plots.theme import template
from probe.errors import ProbeError, nearest

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from analyses.result import Result

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


def draw(result: Result) -> Figure:
    """The figure of a result, from its table and what it says about it."""
    _import_all()
    if result.drawing not in _DRAWINGS:
        raise ProbeError(
            f"the figure of {result.name!r}",
            expected="a drawing that there is",
            found=repr(result.drawing),
            remedy=nearest(result.drawing, _DRAWINGS),
        )
    figure = _DRAWINGS[result.drawing](result.table, result.about)
    return figure.update_layout(title=escape(result.title), template=template())


@cache
def _import_all() -> None:
    import analyses.plots as package

    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
