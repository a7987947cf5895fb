"""Heads as a heatmap a measure, and sinks as lines over decoding steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.plots.heatmap import heatmap
from analyses.plots.left_out import leaving_out
from analyses.plots.lens import fullest_step, models_alone
from analyses.plots.profile import profile
from analyses.plots.registry import drawing

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SHARES = ("previous", "next", "same", "induction", "reverse_induction", "sink", "entropy", "duplicate")
"""The measures that lie between 0 and 1, and so share one scale of colour."""


@drawing("heads")
def heads(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """Layer × head, a panel for each measure of each model."""
    shown, without = models_alone(table)
    shown, other_steps = fullest_step(shown)
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
    others = ", ".join(name.replace("_", " ") for name in about["measures"] if name not in measures)
    return leaving_out(figure.update_traces(texttemplate=""), without, other_steps, others)


@drawing("sinks")
def sinks(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """A line a layer; of single heads, which are too many, a line for the mean of each layer's, without an interval."""
    shown, each_head = table, ""
    if "head" in table:
        shown = table.groupby(["step", "layer", "measure"], sort=False, as_index=False).agg({"estimate": "mean"})
        each_head = "each head by itself, with its interval (drawn is the mean of a layer's heads)"
    shown = shown.assign(line="layer " + shown["layer"].astype(str))
    axes = {"x": "step", "colour": "line", "facet": "measure", "x_title": "decoding step"}
    return leaving_out(profile(shown, {"axes": axes}), each_head)
