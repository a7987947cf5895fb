"""A run, and what else would have been written: the best tokens of every slot at every pass.

    run, candidates = with_candidates(model, lambda passes: probe.decode(model, prompt, 8, passes=passes))
    run.view(candidates=candidates)         # click a slot for its candidates

The run's own forward passes keep their best tokens, so nothing is computed twice. Every state is shown whole (no keys
and values are kept), which makes the run slower and changes none of its tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.decoding.candidates import Candidates
from probe.decoding.passes import PassOptions
from probe.decoding.trajectory import Trajectory

if TYPE_CHECKING:
    from probe.models.model import Model
    from probe.paradigms.canvas import Canvas

BEST = 10


def with_candidates(model: Model, write: Callable[[PassOptions], Trajectory]) -> tuple[Trajectory, Candidates]:
    """The run that `write` makes with the passes that it is handed, and the best tokens of every slot at each."""
    tokens: list[Tensor] = []
    shares: list[Tensor] = []

    def forward(canvas: Canvas) -> Tensor:
        logits = model.run(canvas)
        best = _where_read(model, canvas.tokens, logits.float()).softmax(-1).topk(min(BEST, logits.shape[-1]))
        tokens.append(best.indices.cpu())
        shares.append(best.values.cpu())
        return logits

    return write(PassOptions(forward=forward)), Candidates(tokens, shares)


def _where_read(model: Model, state: Tensor, logits: Tensor) -> Tensor:
    """Logits put where they answer: slot i of the result is about the token at i. With shift the last slot that was
    shown answers for the one behind it, which an AR model has not reached yet; slot 0, for which nothing answers, has
    its own logits."""
    place = torch.arange(state.shape[1], device=state.device).expand_as(state)
    slots = model.paradigm.read_at(state, place).clamp(min=0)
    found = logits.gather(1, slots[..., None].expand(-1, -1, logits.shape[-1]))
    return torch.cat([found, logits[:, -1:]], 1) if model.shift else found
