"""Matrices of layer against layer, and profiles of the models alone."""

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


@drawing("by_depth")
def by_depth(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    return profile(models_alone(table), about)


@drawing("skip_effects")
def skip_effects(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """Left out × changed, a panel for each model and side; effects run from a layer to those after it."""
    shown = models_alone(table).query("layer > skipped")
    return heatmap(shown.assign(panel=shown["role"] + " · " + shown["side"]), about)
