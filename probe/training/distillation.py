"""Distillation: besides the true token, the AR model's whole distribution as a target.

A token is one draw from a distribution; the model that a twin starts from knows that distribution. A training with
adapters has that model for free, as its own weights without them. `distill` is the distribution's share of a slot's
target:

    loss = (1 - d) · surprise at the token + d · KL(AR's distribution ‖ the twin's)

The AR model sees only the left context. If the twin sees more, this target is wrong: the twin would learn to ignore the
right context. So d is 0 for slots that see any token after the one they predict, and in the masked paradigm only the
slots after the last visible token have a teacher. Strictly causal paradigms (FLUID) have one everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.paradigms.paradigm import NO_LABEL

if TYPE_CHECKING:
    from probe.paradigms.canvas import Canvas


def shares(canvas: Canvas, mask_id: int, distill: float, *, shift: bool) -> Tensor:
    """The teacher's share in each slot's target (batch × slots): `distill`, or 0 where the right context is visible."""
    places = canvas.places.expand_as(canvas.tokens)
    sees_ahead = canvas.allowed & (places[:, None, :] > places[:, :, None])
    if not sees_ahead.any():
        return torch.full(places.shape, distill)
    last_seen = torch.where(canvas.tokens == mask_id, -1, places).amax(1, keepdim=True)
    return distill * (places + int(shift) > last_seen).float()


def distilled_loss(logits: Tensor, labels: Tensor, weights: Tensor, soft: Tensor, teacher: Tensor) -> Tensor:
    """The loss above, per labelled slot; `teacher` has the teacher's logits for every slot (-inf: not a token)."""
    labelled = labels != NO_LABEL
    ours, theirs = logits[labelled].float().log_softmax(-1), teacher[labelled].float().log_softmax(-1)
    surprise = -ours.gather(-1, labels[labelled][:, None])[:, 0]
    divergence = torch.nn.functional.kl_div(ours, theirs, reduction="none", log_target=True).nan_to_num().sum(-1)
    each = (1 - soft[labelled]) * surprise + soft[labelled] * divergence
    return (each * weights[labelled]).sum() / labelled.sum().clamp(min=1)
