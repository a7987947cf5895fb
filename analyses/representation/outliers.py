"""Outlier dimensions: a few coordinates of the residual stream that are far larger than all others.

They carry next to nothing about the token and nearly all of a state's norm, so cosine and CKA between two models that
share them are near 1 whatever else changed. They are found here, so that they can be reported, and left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.representation.states import SITE, Beside, traces_of
from analyses.result import Result
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading
from probe.tasks import Batch

if TYPE_CHECKING:
    import xarray

TIMES = 6.0  # the median dimension's root mean square


def outliers(
    models: Model | Pair,
    batch: Batch,
    *,
    reading: str | Reading = "prefix",
    traces: Mapping[str, xarray.Dataset] | None = None,
    times: float = TIMES,
) -> Result:
    """The dimensions whose size is over `times` the layer's median, and their share of the squared norm."""
    shown = traces_of(models, batch, reading, traces)
    table = pd.concat([_found(trace, role, times) for role, trace in shown.items()], ignore_index=True)
    axes = {"x": "dimension", "y": "layer", "facet": "role", "x_title": "dimension", "z_title": "times the median"}
    return Result(
        "outlier_dimensions",
        table,
        "Outlier dimensions of the residual stream",
        f"Dimensions whose root mean square over all tokens is above {times:g} times that of the layer's median "
        "dimension. Share: how much of the squared norm they hold. An empty table means that there are none.",
        "heatmap",
        {"axes": axes, "times": times, "reading": str(reading)},
    )


def outlying(states: NDArray, times: float = TIMES) -> NDArray:
    """Which dimensions (layer × feature) of states (token × layer × feature) are outliers."""
    size = _size(states)
    return size > times * np.median(size, axis=-1, keepdims=True)


def without_outliers(both: Beside, times: float = TIMES) -> Beside:
    """The states without the dimensions that are outliers in either model, at the layer where they are."""
    either = outlying(both.a, times) | outlying(both.b, times)
    return Beside(np.where(either, 0, both.a), np.where(either, 0, both.b), both.example, both.group)


def _size(states: NDArray) -> NDArray:
    return np.sqrt(np.mean(np.square(states, dtype=np.float64), axis=0))


def _found(trace: xarray.Dataset, role: str, times: float) -> pd.DataFrame:
    states = np.moveaxis(trace[SITE].values, 2, 1).reshape(-1, trace.sizes["layer"], trace.sizes["feature"])
    size, chosen = _size(states), outlying(states, times)
    layer, dimension = chosen.nonzero()
    ratio = size / np.median(size, axis=-1, keepdims=True)
    share = size**2 / (size**2).sum(-1, keepdims=True)
    columns = {"layer": layer, "dimension": dimension, "estimate": ratio[chosen], "share": share[chosen]}
    return pd.DataFrame({"model": trace.attrs["model"], "role": role, **columns, "n": len(states)})
