"""Matrices of layer × layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.plots import lens
from analyses.plots.heatmap import heatmap
from analyses.plots.left_out import leaving_out
from analyses.plots.lens import fullest_step, models_alone
from analyses.plots.registry import drawing

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@drawing("by_depth")
def by_depth(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    shown, without = models_alone(table)
    return leaving_out(lens.by_depth(shown, about), without)


@drawing("skip_effects")
def skip_effects(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """Skipped × changed, one panel per model and side; effects go from a layer to those after it."""
    shown, without = models_alone(table)
    shown, other_steps = fullest_step(shown.query("layer > skipped"))
    figure = heatmap(shown.assign(panel=shown["role"] + " · " + shown["side"]), about)
    return leaving_out(figure, without, other_steps)
