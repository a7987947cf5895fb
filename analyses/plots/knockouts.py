"""Drawings of knock-outs: the loss by layer, with the centre of mass marked, and how fast an answer is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.plots.left_out import leaving_out
from analyses.plots.panels import Axes, panels
from analyses.plots.profile import line_with_band
from analyses.plots.registry import drawing
from analyses.plots.theme import colours

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@drawing("causal_profile")
def causal_profile(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """One line per model, one panel per task and kind of ablation; a dotted vertical line at each centre of mass."""
    axes = Axes.of({"axes": {**about.get("axes", {}), "colour": "model", "facet": "panel"}})
    windows = sorted(set(table["window"].to_list()))
    narrowest = windows[0]
    without = f"windows of more than {_layers(narrowest)}" if len(windows) > 1 else ""
    table = table.loc[table["window"] == narrowest, :]
    table = table.assign(panel=table["task"] + " · " + table["ablation"])
    figure, each = panels(table, "panel")
    lines = colours(table["model"])
    for panel in each:
        at: dict[str, Any] = {"row": panel.row, "col": panel.column}
        for name, part in panel.table.groupby("model", sort=False):
            layers, middle = part.loc[part["layer"] >= 0, :], part.loc[part["layer"] < 0, "estimate"]
            line_with_band(figure, layers.sort_values("depth"), axes, str(name), lines[str(name)], panel.first, **at)
            for centre in middle.dropna():
                figure.add_vline(x=centre, line={"color": lines[str(name)], "dash": "dot", "width": 1}, **at)
    figure.update_xaxes(title_text=axes.x_title, range=[0, 1])
    return leaving_out(figure.update_yaxes(title_text=axes.y_title, col=1), without)


def _layers(window: int) -> str:
    return "one layer" if window == 1 else f"{window} layers"


@drawing("knockout_curves")
def knockout_curves(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """One line per model in the order of its scores, and the random order dotted in the same colour."""
    import plotly.graph_objects as go

    axes = Axes.of(about)
    others = ", ".join(str(what) for what in dict.fromkeys(table["what"]) if what != "curve")
    table = table.loc[table["what"] == "curve", :]
    figure, each = panels(table, axes.facet)
    lines = colours(table["model"])
    for panel in each:
        at: dict[str, Any] = {"row": panel.row, "col": panel.column}
        for name, part in panel.table.groupby("model", sort=False):
            part, colour = part.sort_values("share"), lines[str(name)]
            line_with_band(figure, part, axes, str(name), colour, panel.first, **at)
            random = go.Scatter(
                x=part["share"],
                y=part["null"],
                mode="lines",
                line={"color": colour, "dash": "dot"},
                name=f"{name}, random order",
                legendgroup=f"{name}, random order",
                showlegend=panel.first,
            )
            figure.add_trace(random, **at)
    figure.update_xaxes(title_text=axes.x_title)
    return leaving_out(figure.update_yaxes(title_text=axes.y_title, col=1), others)
