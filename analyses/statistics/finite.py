"""NaN and infinite values are refused, with an error that names the first place where they appear.

A NaN spreads silently: every comparison with it is false, so a test that counts "at least as extreme" counts none and
gives the smallest possible p. Therefore a measure checks its input first:

    refuse_not_finite("scores of 'ar' on 'ioi'", values, {"example": range(len(values)), "node": names})
    # ProbeError: … found: nan at example 3, node a2.h0 (17 of 4,096 values)

Cells that have no value by design (a text without a repeated token has no induction score) are NaN *after* such a
check, and get no p (`PerExample`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from probe.errors import ProbeError

REMEDY = "Look for NaN or infinity in the weights (`twinprobe check`), or load the model with dtype float32."


def refuse_not_finite(what: str, values: ArrayLike, axes: Mapping[str, Sequence[Any]]) -> None:
    """Refuse values if any is NaN or infinite. `axes` name the axes and their labels."""
    values = np.asarray(values)
    finite = np.isfinite(values)
    if finite.all():
        return
    first = np.unravel_index(int((~finite).argmax()), values.shape)
    place = ", ".join(f"{axis} {labels[int(at)]}" for (axis, labels), at in zip(axes.items(), first, strict=False))
    count = int((~finite).sum())
    raise ProbeError(
        what,
        expected="numbers that are finite",
        found=f"{values[first]} at {place or 'its only place'} ({count:,} of {values.size:,} values)",
        remedy=REMEDY,
    )
