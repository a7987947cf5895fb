"""Heads as a heatmap a measure, and sinks as lines over decoding steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.plots.heatmap import heatmap
from analyses.plots.lens import models_alone
from analyses.plots.profile import profile
from analyses.plots.registry import drawing

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SHARES = ("previous", "next", "same", "induction", "reverse_induction", "sink", "entropy", "duplicate")
"""The measures that lie between 0 and 1, and so share one scale of colour."""


@drawing("heads")
def heads(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """Layer × head, a panel for each measure of each model; differences between models are left to the table."""
    shown = models_alone(table)
    measures = [name for name in SHARES if name in table]
    parts = [
        shown.filter(["role", "layer", "head", "n"]).assign(
            measure=name, estimate=shown[name], low=shown[f"{name}_low"], high=shown[f"{name}_high"]
        )
        for name in measures
    ]
    long = pd.concat(parts, ignore_index=True)
    several = len(set(long["role"])) > 1
    long["panel"] = long["measure"] + " · " + long["role"] if several else long["measure"]
    axes = {"x": "head", "y": "layer", "facet": "panel", "x_title": "head", "y_title": "layer", "z_title": "share"}
    figure = heatmap(long, {"axes": axes})
    return figure.update_traces(texttemplate="")


@drawing("sinks")
def sinks(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    keys = ["step", "layer", "measure"]  # the mean of heads, where the table has them apart
    shown = table.pivot_table(index=keys, values=["estimate", "low", "high"], sort=False).reset_index()
    shown["line"] = "layer " + shown["layer"].astype(str)
    axes = {"x": "step", "colour": "line", "facet": "measure", "x_title": "decoding step"}
    return profile(shown, {"axes": axes})
