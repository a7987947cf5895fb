"""A run with its candidates: the most likely tokens of every slot at every pass.

    run, candidates = with_candidates(model, lambda passes: probe.decode(model, prompt, 8, passes=passes))
    run.view(candidates=candidates)         # click a slot for its candidates

The run's own forward passes keep their best tokens, so nothing is computed twice. Every state is computed whole
(without a KV cache), which makes the run slower but changes none of its tokens.
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
    """The run that `write` makes with the given passes, and the best tokens of every slot at each."""
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
    """Logits by the token that they predict: slot i of the result is about the token at i. With shift the last computed
    slot predicts the next one, which an AR model has not reached yet; slot 0, which no slot predicts, has its own
    logits."""
    place = torch.arange(state.shape[1], device=state.device).expand_as(state)
    slots = model.paradigm.read_at(state, place).clamp(min=0)
    found = logits.gather(1, slots[..., None].expand(-1, -1, logits.shape[-1]))
    return torch.cat([found, logits[:, -1:]], 1) if model.shift else found
