"""A forest plot: one line per estimate, with its interval, and its null in grey."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.plots.panels import GAP, Axes, has, hover, panels
from analyses.plots.registry import drawing
from analyses.plots.theme import NULL, colours

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


LINE = 26  # pixels of one estimate


@drawing("forest")
def forest(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    axes = Axes.of(about)
    rows = [*axes.rows] or [name for name in ("task", "measure", "model") if name in table]
    labels = [" · ".join(escape(str(value)) for value in row) for row in table[rows].to_numpy()]
    table = table.assign(label=labels)
    figure, each = panels(table, axes.facet, **_room(table, axes.facet))
    points = colours(table[axes.colour]) if axes.colour else {"": colours([""])[""]}
    drawn = list(each)
    for panel in drawn:
        at = {"row": panel.row, "col": panel.column}
        if has(panel.table, "null_low"):
            _nulls(figure, panel.table.dropna(subset=["null_low"]), first=panel.first, **at)
        named = panel.table.groupby(axes.colour, sort=False) if axes.colour else [("", panel.table)]
        for name, part in named:
            _points(figure, part, str(name), points[str(name)], rows, first=panel.first, **at)
    line = about.get("reference", 0)
    if line is not None:
        figure.add_vline(x=line, line={"color": "#444", "width": 1, "dash": "dot"})
    order = {"categoryorder": "array", "categoryarray": list(dict.fromkeys(labels))}
    figure.update_yaxes(autorange="reversed", automargin=True, **order)
    if len({panel.column for panel in drawn}) > 1:  # panels side by side have the same lines
        figure.update_yaxes(matches="y", showticklabels=False, col=2)
    return figure.update_xaxes(title_text=axes.x_title)


def _room(table: pd.DataFrame, facet: str | None) -> dict[str, Any]:
    """The layout of panels: two side by side if they share one list of labels, else below each other, since labels are
    long; each as high as its lines need."""
    found = (
        [part.unique() for _, part in table.groupby(facet, sort=False)["label"]] if facet else [table["label"].unique()]
    )
    across = 2 if len(found) > 1 and len({frozenset(labels) for labels in found}) == 1 else 1
    lines = [LINE * max(2, *map(len, found[at : at + across])) for at in range(0, len(found), across)]
    total = sum(lines) + GAP * (len(lines) - 1)
    return {"per_row": across, "height": round(total / len(lines)), "row_heights": lines}


def _points(
    figure: Figure, part: pd.DataFrame, name: str, colour: str, rows: list[str], *, first: bool, **at: Any
) -> None:
    import plotly.graph_objects as go

    reach = {"color": colour, "array": part["high"] - part["estimate"], "arrayminus": part["estimate"] - part["low"]}
    points = go.Scatter(
        x=part["estimate"],
        y=part["label"],
        error_x={"type": "data", "symmetric": False, "thickness": 2, **reach},
        mode="markers",
        marker={"color": colour, "size": 9},
        name=name,
        legendgroup=name,
        showlegend=first and bool(name),
        text=hover(part, rows),
        hoverinfo="text",
    )
    figure.add_trace(points, **at)


def _nulls(figure: Figure, part: pd.DataFrame, *, first: bool, **at: Any) -> None:
    import plotly.graph_objects as go

    bars = go.Bar(
        x=part["null_high"] - part["null_low"],
        base=part["null_low"],
        y=part["label"],
        orientation="h",
        marker={"color": NULL, "opacity": 0.35},
        name="null",
        legendgroup="null",
        showlegend=first,
        hoverinfo="skip",
    )
    figure.add_trace(bars, **at)
