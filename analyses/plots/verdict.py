"""The verdict as a forest: one claim a line, coloured by its answer, with the threshold it was held against."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.plots.heatmap import heatmap
from analyses.plots.registry import drawing
from analyses.plots.theme import NULL, PALETTE

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Told apart by form as well as by colour.
_ANSWERS = {
    "supported": (PALETTE[2], "circle"),
    "contradicted": (PALETTE[1], "x"),
    "undecided": (PALETTE[0], "circle-open"),
    "not asked": (NULL, "line-ew-open"),
}


@drawing("verdict")
def verdict(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    import plotly.graph_objects as go

    table = table.assign(label=[_label(row) for row in table.to_dict("records")])
    figure = go.Figure()
    ticks = {"symbol": "line-ns-open", "size": 16, "color": NULL, "line": {"width": 2, "color": NULL}}
    figure.add_trace(go.Scatter(x=table["null"], y=table["label"], mode="markers", marker=ticks, name="threshold"))
    for answer, (colour, symbol) in _ANSWERS.items():
        part = table.loc[table["verdict"] == answer, :]
        if not len(part):
            continue
        reach = {"array": part["high"] - part["estimate"], "arrayminus": part["estimate"] - part["low"]}
        points = go.Scatter(
            x=part["estimate"].fillna(part["null"]),
            y=part["label"],
            error_x={"type": "data", "symmetric": False, "thickness": 2, "color": colour, **reach},
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 10},
            name=answer,
            text=[_told(row) for row in part.to_dict("records")],
            hoverinfo="text",
        )
        figure.add_trace(points)
    figure.update_yaxes(
        autorange="reversed", automargin=True, categoryorder="array", categoryarray=list(table["label"])
    )
    return figure.update_layout(height=140 + 34 * len(table)).update_xaxes(title_text="figure (see the claim)")


def _label(row: Mapping[Any, Any]) -> str:
    mark = "rival: " if row["rival"] else ""
    return f"{mark}{escape(row['claim'])}<br><sup>{escape(row['written'])}</sup>"


def _told(row: Mapping[Any, Any]) -> str:
    by = f"<br>by: {escape(row['explained_by'])}" if row["explained_by"] else ""
    settings = f"<br>settings: {escape(row['settings'])}" if row["settings"] else ""
    figures = f"{row['estimate']:.3g} [{row['low']:.3g}, {row['high']:.3g}], n = {row['n']}"
    return f"{escape(row['verdict'])}: {figures}{by}{settings}<br>{escape(row['source'])}"


@drawing("robustness")
def robustness(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """A panel for each task and measure, each in units of its largest difference, so that all share one scale."""
    table = table.assign(panel=table["task"] + " · " + table["measure"])
    largest = table["estimate"].abs().groupby(table["panel"]).transform("max").to_numpy()
    scaled = table.assign(shown=table["estimate"] / np.where(largest > 0, largest, 1))
    return heatmap(scaled, {"axes": {**about.get("axes", {}), "z": "shown", "z_title": "share of the<br>largest"}})
