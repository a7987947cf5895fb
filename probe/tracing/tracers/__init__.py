"""The tracers by name: the project's own, and those that installed packages add.

    hooks              torch hooks on the selected modules and on no others; the default
    transformer_lens   TransformerLens's bridge, to compare with its numbers
    nnsight            nnsight, on this machine or on NDIF's

An installed package adds another by an entry point of the group `twinprobe.tracers` (docs/how_to/add_a_tracer.md).
"""

from __future__ import annotations

from typing import Any

from probe.installed import Installed
from probe.tracing.tracers import hooks, nnsight, transformer_lens

TRACERS: Installed[Any] = Installed(
    "twinprobe.tracers",
    {"hooks": hooks.attached, "transformer_lens": transformer_lens.attached, "nnsight": nnsight.attached},
    callable,
    "a function (model, selection, take) that makes a context, such as probe.tracing.tracers.hooks.attached",
)
