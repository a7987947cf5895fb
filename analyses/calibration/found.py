"""The result of one simulated pair: whether the test rejects, and whether the interval covers the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analyses.statistics import Estimate


@dataclass(frozen=True)
class Found:
    """The result of one simulated pair."""

    rejects: bool
    covers: bool


Simulate = Callable[[np.random.Generator, str, bool], Found]


def of_estimate(found: Estimate, truth: float) -> Found:
    return Found(bool(found.p < 0.05), bool(found.low <= truth <= found.high))
