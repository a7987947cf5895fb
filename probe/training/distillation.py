"""Distillation: besides the token that stands there, the AR model's whole distribution as a target.

A token is one draw from what could have stood there; the model that a twin starts from knows the rest. A training with
adapters has it at hand, as its own weights without them. Of a slot's target `distill` is that distribution:

    loss = (1 - d) · surprise at the token + d · KL(AR's distribution ‖ the twin's)

The AR model knows what stands to the left and nothing else. Where the twin sees more, its target would be wrong: a twin
taught so learns to look away from the right. So d is 0 on slots that see any token behind the one they answer for, and
in the masked paradigm only the slots behind the last visible token have a teacher. Strictly causal paradigms (FLUID)
have one everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.paradigms.paradigm import NO_LABEL

if TYPE_CHECKING:
    from probe.paradigms.canvas import Canvas


def shares(canvas: Canvas, mask_id: int, distill: float, *, shift: bool) -> Tensor:
    """How much of each slot's target (batch × slots) is the teacher's: `distill`, or 0 where the right is seen."""
    places = canvas.places.expand_as(canvas.tokens)
    sees_ahead = canvas.allowed & (places[:, None, :] > places[:, :, None])
    if not sees_ahead.any():
        return torch.full(places.shape, distill)
    last_seen = torch.where(canvas.tokens == mask_id, -1, places).amax(1, keepdim=True)
    return distill * (places + int(shift) > last_seen).float()


def distilled_loss(logits: Tensor, labels: Tensor, weights: Tensor, soft: Tensor, teacher: Tensor) -> Tensor:
    """The loss above, per labelled slot; `teacher` holds the teacher's logits for every slot (-inf: not a token)."""
    labelled = labels != NO_LABEL
    ours, theirs = logits[labelled].float().log_softmax(-1), teacher[labelled].float().log_softmax(-1)
    surprise = -ours.gather(-1, labels[labelled][:, None])[:, 0]
    divergence = torch.nn.functional.kl_div(ours, theirs, reduction="none", log_target=True).nan_to_num().sum(-1)
    each = (1 - soft[labelled]) * surprise + soft[labelled] * divergence
    return (each * weights[labelled]).sum() / labelled.sum().clamp(min=1)
