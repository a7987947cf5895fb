"""Twinprobe: what changes inside a language model when an autoregressive one becomes a diffusion one?

The names below are the whole of what scripts and notebooks need; each is imported when it is first used, so that
`import probe` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probe import paradigms
    from probe.decoding import Sampler, Trajectory, decode
    from probe.errors import ProbeError
    from probe.models.loading import load
    from probe.models.model import Model
    from probe.pairs import Pair, load_pair

_HOMES = {
    "Model": "probe.models.model",
    "Pair": "probe.pairs",
    "ProbeError": "probe.errors",
    "Sampler": "probe.decoding",
    "Trajectory": "probe.decoding",
    "decode": "probe.decoding",
    "load": "probe.models.loading",
    "load_pair": "probe.pairs",
    "paradigms": None,  # the package itself
}

__all__ = [  # noqa: RUF022  (in the order in which they are used)
    "load",
    "load_pair",
    "Model",
    "Pair",
    "paradigms",
    "decode",
    "Sampler",
    "Trajectory",
    "ProbeError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'probe' has no attribute {name!r}")
    home = _HOMES[name]
    return import_module(f"probe.{name}") if home is None else getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
