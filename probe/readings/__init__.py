"""Readings: asking two different models the same question.

Each name is imported when it is first used: a spec that only names a reading is checked without importing torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from probe.lazy import lazy

if TYPE_CHECKING:
    from probe.readings.by_role import reading_for, roles
    from probe.readings.noise import Noise
    from probe.readings.reading import Prompts, Reading, View, answers, comparable
    from probe.readings.registry import READINGS, named
    from probe.readings.right_context import gain_from_right
    from probe.readings.still import AR, OneMask, Prefix, Ratio
    from probe.readings.surprise import surprise
    from probe.readings.trajectory import TrajectoryReading, aggregated, view_of
    from probe.readings.two_by_two import two_by_two

__all__ = [
    "AR",
    "READINGS",
    "Noise",
    "OneMask",
    "Prefix",
    "Prompts",
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
    "surprise",
    "two_by_two",
    "view_of",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "by_role": ("reading_for", "roles"),
        "noise": ("Noise",),
        "reading": ("Prompts", "Reading", "View", "answers", "comparable"),
        "registry": ("READINGS", "named"),
        "right_context": ("gain_from_right",),
        "still": ("AR", "OneMask", "Prefix", "Ratio"),
        "surprise": ("surprise",),
        "trajectory": ("TrajectoryReading", "aggregated", "view_of"),
        "two_by_two": ("two_by_two",),
    },
)
