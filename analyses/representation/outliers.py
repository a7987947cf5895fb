"""Outlier dimensions: a few coordinates of the residual stream that are far larger than all others.

They carry almost no information about the token but nearly all of a state's norm, so cosine and CKA between two models
that share them are near 1 whatever else changed. Here they are found, so that they can be reported and left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.representation.states import Asked, Beside, Recorded, asked
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
    shown = asked(models, batch, reading, traces)
    table = pd.concat([_found(source, role, times) for role, source in shown.items()], ignore_index=True)
    axes = {"x": "dimension", "y": "layer", "facet": "role", "x_title": "dimension", "z_title": "times the median"}
    return Result(
        "outlier_dimensions",
        table,
        "Outlier dimensions of the residual stream",
        f"Dimensions whose root mean square over all tokens is above {times:g} times that of the layer's median "
        "dimension. Share: their part of the squared norm. An empty table means that there are none.",
        "heatmap",
        {"axes": axes, "times": times, "reading": str(reading)},
    )


def outlying(states: NDArray, times: float = TIMES) -> NDArray:
    """Which dimensions (layer × feature) of states (token × layer × feature) are outliers."""
    return _beyond(np.sqrt(np.mean(np.square(states, dtype=np.float64), axis=0)), times)


def without_outliers(both: Beside, times: float = TIMES) -> Beside:
    """The states without the dimensions that are outliers in either model, at the layer where they are."""
    either = outlying(both.a, times) | outlying(both.b, times)
    return both.without(either, either)


def _beyond(size: NDArray, times: float) -> NDArray:
    return size > times * np.median(size, axis=-1, keepdims=True)


def _found(source: Recorded | Asked, role: str, times: float) -> pd.DataFrame:
    total: Any = 0.0
    tokens = 0
    for states in source.every():
        total, tokens = total + np.square(states, dtype=np.float64).sum(0), tokens + len(states)
    size = np.sqrt(total / tokens)
    chosen = _beyond(size, times)
    layer, dimension = chosen.nonzero()
    ratio = size / np.median(size, axis=-1, keepdims=True)
    share = size**2 / (size**2).sum(-1, keepdims=True)
    columns = {"layer": layer, "dimension": dimension, "estimate": ratio[chosen], "share": share[chosen]}
    return pd.DataFrame({"model": source.name, "role": role, **columns, "n": tokens})
