"""Twinprobe: what changes inside a language model when an autoregressive one becomes a diffusion one?

The names below are the whole of what scripts and notebooks need; each is imported when it is first used, so that
`import probe` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probe import paradigms, readings
    from probe.decoding import PassOptions, Sampler, Trajectory, decode
    from probe.errors import ProbeError
    from probe.models.loading import load
    from probe.models.model import Model
    from probe.pairs import Pair, load_pair
    from probe.tasks import Batch, task
    from probe.tracing import add, edit, freeze, mean, open_trace, patch, record, resample, skip, zero

_HOMES = {
    **dict.fromkeys(("PassOptions", "Sampler", "Trajectory", "decode"), "probe.decoding"),
    **dict.fromkeys(("Batch", "task"), "probe.tasks"),
    **dict.fromkeys(("Pair", "load_pair"), "probe.pairs"),
    **dict.fromkeys(
        ("add", "edit", "freeze", "mean", "open_trace", "patch", "record", "resample", "skip", "zero"), "probe.tracing"
    ),
    "Model": "probe.models.model",
    "ProbeError": "probe.errors",
    "load": "probe.models.loading",
}
_ROOMS = ("paradigms", "readings")  # whole packages, addressed by their own names

__all__ = [  # noqa: RUF022  (in the order in which they are used)
    "load",
    "load_pair",
    "Model",
    "Pair",
    "task",
    "Batch",
    "readings",
    "record",
    "open_trace",
    "edit",
    "patch",
    "zero",
    "mean",
    "resample",
    "skip",
    "add",
    "freeze",
    "decode",
    "Sampler",
    "PassOptions",
    "Trajectory",
    "paradigms",
    "ProbeError",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"probe.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'probe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_ROOMS})
