"""Readings: asking two different models the same question."""

from __future__ import annotations

from typing import Any

from probe.errors import ProbeError, nearest
from probe.readings.pool import Accuracy, pool, right
from probe.readings.reading import Asked, Reading, answers
from probe.readings.still import AR, OneMask, Prefix, Ratio
from probe.readings.trajectory import TrajectoryReading, aggregated
from probe.readings.two_by_two import two_by_two

__all__ = [
    "AR",
    "READINGS",
    "Accuracy",
    "Asked",
    "OneMask",
    "Prefix",
    "Ratio",
    "Reading",
    "TrajectoryReading",
    "aggregated",
    "answers",
    "named",
    "pool",
    "right",
    "two_by_two",
]

READINGS: dict[str, type[Reading]] = {kind.name: kind for kind in (AR, Prefix, OneMask, Ratio, TrajectoryReading)}


def named(reading: str | Reading, **knobs: Any) -> Reading:
    """The reading of a name; a Reading is itself."""
    if isinstance(reading, Reading):
        return reading
    if reading not in READINGS:
        raise ProbeError(
            f"reading {reading!r}",
            expected="one of " + ", ".join(READINGS),
            found=repr(reading),
            remedy=nearest(str(reading), READINGS),
        )
    return READINGS[reading](**knobs)
