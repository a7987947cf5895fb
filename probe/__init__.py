"""Twinprobe: what changes inside a language model when an autoregressive one becomes a diffusion one?

The names below are the whole of what scripts and notebooks need; each is imported when it is first used, so that
`import probe` costs nothing.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from probe.lazy import lazy

# In a notebook, tqdm asks for widgets as soon as it is imported, which transformers does; a plain bar serves as well.
warnings.filterwarnings("ignore", "IProgress not found", module="tqdm")

if TYPE_CHECKING:
    from probe import paradigms, readings
    from probe.decoding import PassOptions, Sampler, Trajectory, decode
    from probe.errors import ProbeError
    from probe.models.loading import load
    from probe.models.model import Model
    from probe.pairs import Pair, load_pair
    from probe.tasks import Batch, task
    from probe.tracing import add, edit, freeze, mean, only, open_trace, patch, record, resample, skip, zero

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
    "only",
    "decode",
    "Sampler",
    "PassOptions",
    "Trajectory",
    "paradigms",
    "ProbeError",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "models.loading": ("load",),
        "models.model": ("Model",),
        "pairs": ("Pair", "load_pair"),
        "tasks": ("Batch", "task"),
        "tracing": (
            "add",
            "edit",
            "freeze",
            "mean",
            "only",
            "open_trace",
            "patch",
            "record",
            "resample",
            "skip",
            "zero",
        ),
        "decoding": ("PassOptions", "Sampler", "Trajectory", "decode"),
        "errors": ("ProbeError",),
    },
    rooms=("paradigms", "readings"),
)
