"""Panels: one figure split by a column (usually the task), so that every drawing treats facets and legends alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PER_ROW = 3
GAP, BELOW = 74, 58  # pixels between rows of panels, and between the last one and the legend


@dataclass(frozen=True)
class Axes:
    """The roles of a table's columns, from a result's `about["axes"]`."""

    x: str = "x"
    y: str = "y"
    z: str = "estimate"
    colour: str | None = None
    facet: str | None = None
    x_title: str = ""
    y_title: str = ""
    z_title: str = ""
    rows: tuple[str, ...] = ()
    shaded: bool = False  # colours run from dark to light in the order of `colour`

    @classmethod
    def of(cls, about: Mapping[str, Any], **defaults: str) -> Axes:
        given: dict[str, Any] = {**defaults, **about.get("axes", {})}
        given["rows"] = tuple(given.get("rows", ()))
        return cls(**given)


@dataclass(frozen=True)
class Panel:
    table: pd.DataFrame
    row: int
    column: int
    first: bool  # names its traces in the legend


def panels(
    table: pd.DataFrame,
    facet: str | None,
    *,
    per_row: int = PER_ROW,
    height: int = 300,
    gap: float | None = None,
    row_heights: list[int] | None = None,
) -> tuple[Figure, Iterator[Panel]]:
    """An empty figure with a panel for each value of `facet`, in order of appearance, and the panels' tables.

    height       of one row of panels, in pixels, including the gap below it
    gap           between rows of panels, as a share of the figure's height
    row_heights  the relative heights of the rows of panels; equal by default
    """
    from plotly.subplots import make_subplots

    names = [] if facet is None else list(dict.fromkeys(table[facet]))
    count = max(1, len(names))
    across = min(per_row, count)
    down = -(-count // across)
    titles = [escape(str(name)) for name in names] if facet else None
    figure = make_subplots(
        rows=down,
        cols=across,
        subplot_titles=titles,
        row_heights=row_heights,
        horizontal_spacing=0.3 / across / 3 + 0.03,
        vertical_spacing=min(0.3, GAP / (height * down)) if gap is None else gap,
    )
    figure.update_layout(height=120 + height * down, legend={"y": -BELOW / (height * down), "yanchor": "top"})

    def each() -> Iterator[Panel]:
        for turn in range(count):
            part = table if facet is None else table.loc[table[facet] == names[turn], :]
            yield Panel(part, turn // across + 1, turn % across + 1, turn == 0)

    return figure, each()


def name_below(figure: Figure, title: str) -> Figure:
    """The x axes' common title, only under the lowest drawn panel of each column: under others it would lie on the next
    panel's title."""
    lowest: dict[Any, tuple[float, Any]] = {}
    traces: Any = figure.data
    drawn = {trace.xaxis or "x" for trace in traces}  # an axis without a trace is not drawn
    for axis in (axis for axis in figure.select_xaxes() if axis.plotly_name.replace("axis", "") in drawn):
        upright = figure.layout[f"yaxis{(axis.anchor or 'y')[1:]}"]
        bottom = upright.domain[0] if upright.domain else 0.0
        column = axis.domain and round(axis.domain[0], 6)
        if column not in lowest or bottom < lowest[column][0]:
            lowest[column] = bottom, axis
    for _, axis in lowest.values():
        axis.title.text = title
    return figure


def name_each_once(figure: Figure) -> Figure:
    """Each name once in the legend, whichever panel it first appears in."""
    named: set[str] = set()
    traces: Any = figure.data
    for trace in traces:
        if trace.name:
            trace.showlegend = trace.name not in named
            named.add(trace.name)
    return figure


def hover(table: pd.DataFrame, names: list[str]) -> list[str]:
    """A row's hover text: its labels, the estimate and its details."""
    return ["<br>".join(_line(row, name) for name in [*names, *_FIGURES] if _has(row, name)) for row in _rows(table)]


def has(table: pd.DataFrame, name: str) -> bool:
    """Whether a table has this column, with any value in it."""
    return name in table and bool(table[name].notna().to_numpy().any())


_FIGURES = ("estimate", "low", "high", "null", "n", "p", "q")


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _has(row: dict[str, Any], name: str) -> bool:
    return name in row and not pd.isna(row[name])


def _line(row: dict[str, Any], name: str) -> str:
    value = row[name]
    return f"{escape(name)}: {value:.4g}" if isinstance(value, float) else f"{escape(name)}: {escape(str(value))}"
