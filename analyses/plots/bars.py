"""Bars side by side, each with its interval, and a dotted line for its null, if there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.plots.panels import Axes, has, hover, panels
from analyses.plots.registry import drawing
from analyses.plots.theme import NULL, colours

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@drawing("bars")
def bars(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    axes = Axes.of(about, x="task")
    figure, each = panels(table, axes.facet)
    fills = colours(table[axes.colour]) if axes.colour else {"": colours([""])[""]}
    for panel in each:
        named = panel.table.groupby(axes.colour, sort=False) if axes.colour else [("", panel.table)]
        for name, part in named:
            _bar(figure, part, axes, str(name), fills[str(name)], panel.first, row=panel.row, col=panel.column)
    _name_the_null_once(figure)
    below = {"yref": "container", "y": 0.01, "yanchor": "bottom"}
    figure.update_layout(barmode="group", legend=below, margin_b=100)
    figure.update_xaxes(title={"text": axes.x_title, "standoff": 6})
    return figure.update_yaxes(title_text=axes.y_title, col=1)


def _bar(figure: Figure, part: pd.DataFrame, axes: Axes, name: str, colour: str, first: bool, **at: Any) -> None:
    import plotly.graph_objects as go

    shared = {"x": part[axes.x].astype(str), "legendgroup": name, "offsetgroup": name}
    if has(part, "low"):
        reach = {"array": part["high"] - part["estimate"], "arrayminus": part["estimate"] - part["low"]}
        shared["error_y"] = {"type": "data", "symmetric": False, "color": "#222", **reach}
    bar = go.Bar(
        y=part["estimate"],
        name=name,
        showlegend=first and bool(name),
        marker={"color": colour},
        text=hover(part, [axes.x, *([axes.colour] if axes.colour else [])]),
        textposition="none",
        hoverinfo="text",
        **shared,
    )
    figure.add_trace(bar, **at)
    if has(part, "null"):
        mark = {"symbol": "line-ew-open", "size": 22, "color": NULL, "line": {"width": 3, "color": NULL}}
        figure.add_trace(
            go.Scatter(
                x=part[axes.x].astype(str),
                y=part["null"],
                mode="markers",
                marker=mark,
                name="null",
                legendgroup="null",
                offsetgroup=name,
                showlegend=first,
            ),
            **at,
        )


def _name_the_null_once(figure: Figure) -> None:
    traces: Any = figure.data
    for trace in [trace for trace in traces if trace.legendgroup == "null"][1:]:
        trace.showlegend = False
