"""An estimate along a line (layers, depth, shares of components), each line with the band of its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.plots.panels import Axes, has, hover, name_below, name_each_once, panels
from analyses.plots.registry import drawing
from analyses.plots.theme import NULL, colours, faint, shades

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@drawing("profile")
def profile(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    axes = Axes.of(about, x="depth")
    figure, each = panels(table, axes.facet)
    chosen = shades if axes.shaded else colours
    lines = chosen(table[axes.colour]) if axes.colour else {"": colours([""])[""]}
    for panel in each:
        named = panel.table.groupby(axes.colour, sort=False) if axes.colour else [("", panel.table)]
        for name, part in named:
            part = part.sort_values(axes.x)
            line_with_band(
                figure, part, axes, str(name), lines[str(name)], panel.first, row=panel.row, col=panel.column
            )
        for name, part in _nulls(panel.table, axes):
            colour, at = lines.get(name, NULL), {"row": panel.row, "col": panel.column}
            _null(figure, part.sort_values(axes.x), axes, name, colour, first=panel.first, **at)
    name_below(figure, axes.x_title or axes.x)
    return name_each_once(figure.update_yaxes(title_text=axes.y_title, col=1))


def line_with_band(
    figure: Figure, part: pd.DataFrame, axes: Axes, name: str, colour: str, first: bool, **at: Any
) -> None:
    """One line of a profile, its name in the legend if its panel is the first."""
    import plotly.graph_objects as go

    x = part[axes.x]
    if has(part, "low"):
        figure.add_trace(_band(part, axes.x, "low", "high", colour, name), **at)
    line = go.Scatter(
        x=x,
        y=part["estimate"],
        name=name,
        legendgroup=name,
        showlegend=first and bool(name),
        mode="lines+markers",
        line={"color": colour},
        marker={"size": 5},
        text=hover(part, [axes.x, *([axes.colour] if axes.colour else [])]),
        hoverinfo="text",
    )
    figure.add_trace(line, **at)


def _nulls(table: pd.DataFrame, axes: Axes) -> list[tuple[str, pd.DataFrame]]:
    """One null for all lines of a panel if they share it, else each line's own, by name."""
    if not has(table, "null"):
        return []
    known = table.dropna(subset=["null"])
    if axes.colour and known.drop_duplicates([axes.x, "null"]).duplicated(axes.x).any():
        return [(str(name), part) for name, part in known.groupby(axes.colour, sort=False)]
    return [("", known.drop_duplicates(axes.x))]


def _null(figure: Figure, part: pd.DataFrame, axes: Axes, of: str, colour: str, *, first: bool, **at: Any) -> None:
    import plotly.graph_objects as go

    name = f"null of {of}" if of else "null"
    if has(part, "null_low"):
        figure.add_trace(_band(part, axes.x, "null_low", "null_high", colour, name), **at)
    line = {"color": colour, "dash": "dot"}
    named = go.Scatter(
        x=part[axes.x], y=part["null"], name=name, legendgroup=name, showlegend=first, mode="lines", line=line
    )
    figure.add_trace(named, **at)


def _band(part: pd.DataFrame, x: str, low: str, high: str, colour: str, name: str) -> Any:
    import plotly.graph_objects as go

    along = part[x].tolist()
    return go.Scatter(
        x=along + along[::-1],
        y=part[high].tolist() + part[low].tolist()[::-1],
        mode="lines",  # with so few points Plotly would draw markers
        fill="toself",
        fillcolor=faint(colour),
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=name,
    )
