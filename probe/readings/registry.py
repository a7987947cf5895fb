"""The readings by name: the project's own, and those that other packages declare (docs/how_to/add_a_reading.md).

    [project.entry-points."twinprobe.readings"]
    near = "my_package:Near"

A name is known without its class, so that a spec is checked without importing torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from probe.errors import ProbeError, nearest
from probe.installed import Installed

if TYPE_CHECKING:
    from probe.readings.reading import Reading

_CLASSES = {
    "ar": "still.AR",
    "prefix": "still.Prefix",
    "one_mask": "still.OneMask",
    "ratio": "still.Ratio",
    "trajectory": "trajectory.TrajectoryReading",
    "noise": "noise.Noise",
}


class _Own(Mapping[str, "type[Reading]"]):
    """Name → class of the project's own; the class is imported when it is looked up."""

    def __getitem__(self, name: str) -> type[Reading]:
        module, _, kind = _CLASSES[name].partition(".")
        return getattr(import_module(f"probe.readings.{module}"), kind)

    def __contains__(self, name: object) -> bool:
        return name in _CLASSES  # Mapping's own method would import it

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


def _is_reading(thing: object) -> bool:
    from probe.readings.reading import Reading

    return isinstance(thing, type) and issubclass(thing, Reading)


READINGS: Installed[type[Reading]] = Installed(
    "twinprobe.readings", _Own(), _is_reading, "a subclass of probe.readings.Reading"
)


def refuse_unknown(reading: object) -> None:
    """Refuse what is not the name of a reading."""
    if str(reading) not in READINGS:
        raise ProbeError(
            f"reading {reading!r}",
            expected="one of " + ", ".join(READINGS),
            found=repr(reading),
            remedy=nearest(str(reading), READINGS),
        )


def named(reading: str | Reading, **knobs: Any) -> Reading:
    """The reading of a name, with options: `named("ratio", rate=0.25)`. A Reading is returned with the options
    changed."""
    from probe.readings.reading import Reading

    if not isinstance(reading, Reading):
        refuse_unknown(reading)
    kind = type(reading) if isinstance(reading, Reading) else READINGS[reading]
    known = [field.name for field in fields(kind)]
    for knob in knobs:
        if knob not in known:
            raise ProbeError(
                f"reading {kind.name!r}", expected="a knob it has", found=repr(knob), remedy=nearest(knob, known)
            )
    return replace(reading, **knobs) if isinstance(reading, Reading) else kind(**knobs)
