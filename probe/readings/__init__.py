"""Readings: asking two different models the same question.

Each name is imported when it is first used: a spec that only names a reading is checked without importing torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probe.readings.by_role import reading_for, roles
    from probe.readings.noise import Noise
    from probe.readings.reading import Asked, Reading, View, answers, comparable
    from probe.readings.registry import READINGS, named
    from probe.readings.right_context import gain_from_right
    from probe.readings.still import AR, OneMask, Prefix, Ratio
    from probe.readings.surprise import surprise
    from probe.readings.trajectory import TrajectoryReading, aggregated, view_of
    from probe.readings.two_by_two import two_by_two

_HOMES = {
    **dict.fromkeys(("reading_for", "roles"), "by_role"),
    "Noise": "noise",
    **dict.fromkeys(("Asked", "Reading", "View", "answers", "comparable"), "reading"),
    **dict.fromkeys(("READINGS", "named"), "registry"),
    "gain_from_right": "right_context",
    **dict.fromkeys(("AR", "OneMask", "Prefix", "Ratio"), "still"),
    "surprise": "surprise",
    **dict.fromkeys(("TrajectoryReading", "aggregated", "view_of"), "trajectory"),
    "two_by_two": "two_by_two",
}

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
    "surprise",
    "two_by_two",
    "view_of",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'probe.readings' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"probe.readings.{_HOMES[name]}"), name)
    return found
