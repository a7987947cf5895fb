"""The readings by name."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from probe.errors import ProbeError, nearest
from probe.readings.noise import Noise
from probe.readings.reading import Reading
from probe.readings.still import AR, OneMask, Prefix, Ratio
from probe.readings.trajectory import TrajectoryReading

READINGS: dict[str, type[Reading]] = {
    kind.name: kind for kind in (AR, Prefix, OneMask, Ratio, TrajectoryReading, Noise)
}


def named(reading: str | Reading, **knobs: Any) -> Reading:
    """The reading of a name, with knobs: `named("ratio", rate=0.25)`. A Reading is itself, but for the knobs."""
    if not isinstance(reading, Reading) and str(reading) not in READINGS:
        raise ProbeError(
            f"reading {reading!r}",
            expected="one of " + ", ".join(READINGS),
            found=repr(reading),
            remedy=nearest(str(reading), READINGS),
        )
    kind = type(reading) if isinstance(reading, Reading) else READINGS[reading]
    known = [field.name for field in fields(kind)]
    for knob in knobs:
        if knob not in known:
            raise ProbeError(
                f"reading {kind.name!r}", expected="a knob it has", found=repr(knob), remedy=nearest(knob, known)
            )
    return replace(reading, **knobs) if isinstance(reading, Reading) else kind(**knobs)
