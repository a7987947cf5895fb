"""Many texts in one call: rows are decoded in chunks whose logits stay below a fixed size, and joined to one run.

A pass of masked diffusion holds the logits of every slot of every row several times over: at 152,064 columns, 64 slots
and 500 prompts that is 20 GB for each copy. So `decode` takes as many rows at once as keep one copy below LOGITS. The
limit is a constant, not what is free, so the same call draws the same text on every machine.

Greedy text does not depend on the chunks. Of a sampled run, the first chunk draws with the run's seed and each other
one with a seed of its own. Rows stay together where somebody looks on: with callbacks, a tracer or active edits, and
in a flow, whose noise is drawn for all rows at once.

    500 prompts ─► chunks of 27 ─► a Trajectory each ─► joined: one Trajectory of 500 rows
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from probe.decoding.places import KEPT, UNWRITTEN
from probe.decoding.trajectory import StridesTaken, Trajectory

LOGITS = 1 << 30  # bytes of one copy of a chunk's logits
_FLOAT = 4
_APART = 1_000_003  # between the seeds of two chunks


def rows_at_once(slots: int, vocabulary: int) -> int:
    """How many rows with this many predicted slots have logits below LOGITS; at least one."""
    return max(1, LOGITS // (_FLOAT * slots * vocabulary))


def seed_of(seed: int, chunk: int) -> int:
    """The seed with which a chunk draws: the run's own for the first."""
    return seed if chunk == 0 else (seed + chunk * _APART) % (1 << 62)


def joined(parts: Sequence[Trajectory], seed: int) -> Trajectory:
    """The runs of several chunks as the run of all their rows. Chunks that ended earlier repeat their final text."""
    if len(parts) == 1:
        return parts[0]
    steps = max(len(part) for part in parts)
    longer = [_lengthened(part, steps) for part in parts]
    rows = {
        name: torch.cat([getattr(part, name) for part in longer])
        for name in ("tokens", "states", "committed_at", "confidence", "passes", "changes", "ends")
        if getattr(longer[0], name) is not None
    }
    return replace(
        longer[0],
        **rows,
        forward_passes=sum(part.forward_passes for part in parts),
        slots=sum(part.slots for part in parts),
        seed=seed,
        strides=_all_strides(parts),
    )


def _lengthened(part: Trajectory, steps: int) -> Trajectory:
    """A run with more steps, in which nothing happens."""
    missing = steps - len(part)
    if not missing:
        return part
    still = part.tokens[:, None].expand(-1, missing, -1)
    return replace(
        part,
        states=torch.cat([part.states, still], 1),
        confidence=torch.cat([part.confidence, _filled(part.confidence, missing, torch.nan)], 1),
        changes=None if part.changes is None else torch.cat([part.changes, _filled(part.changes, missing, KEPT)], 1),
    )


def _filled(like: Tensor, steps: int, value: float) -> Tensor:
    return like.new_full((like.shape[0], steps, like.shape[2]), value)


def _all_strides(parts: Sequence[Trajectory]) -> StridesTaken | None:
    """The strides of all chunks, their examples counted through, in the order in which they ended."""
    found, first = [], 0
    for part in parts:
        if part.strides is not None:
            found.append(replace(part.strides, example=part.strides.example + first))
        first += len(part.tokens)
    if not found:
        return None
    together = StridesTaken.all_of([_as_wide(taken, max(one.drafted.shape[1] for one in found)) for taken in found])
    order = together.ended_at.argsort(stable=True)
    return StridesTaken(**{name: getattr(together, name)[order] for name in StridesTaken.__dataclass_fields__})


def _as_wide(taken: StridesTaken, longest: int) -> StridesTaken:
    more = longest - taken.drafted.shape[1]
    return replace(taken, drafted=torch.nn.functional.pad(taken.drafted, (0, more), value=UNWRITTEN))
