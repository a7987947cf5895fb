"""Readings: asking two different models the same question."""

from __future__ import annotations

from probe.readings.by_role import reading_for, roles
from probe.readings.noise import Noise
from probe.readings.reading import Asked, Reading, View, answers, comparable
from probe.readings.registry import READINGS, named
from probe.readings.right_context import gain_from_right
from probe.readings.still import AR, OneMask, Prefix, Ratio
from probe.readings.trajectory import TrajectoryReading, aggregated, view_of
from probe.readings.two_by_two import two_by_two

__all__ = [
    "AR",
    "READINGS",
    "Asked",
    "Noise",
    "OneMask",
    "Prefix",
    "Ratio",
    "Reading",
    "TrajectoryReading",
    "View",
    "aggregated",
    "answers",
    "comparable",
    "gain_from_right",
    "named",
    "reading_for",
    "roles",
    "two_by_two",
    "view_of",
]
