"""Elastic Horizons: how many tokens a FLUID model can draft at once, learnt from its own losses.

A fixed stride is too long where the text is uncertain and too short where it is predictable. So a small head reads the
last hidden state of an anchor (the last token of the text) and predicts how many tokens after it can be drafted in one
stride. With the backbone frozen, it is trained on the model's own losses:

    CE_j     the loss of the j-th token after the anchor, when all of them are masks
    K*       the largest k ≤ 16 with mean_{j≤k} CE_j < τ, else 1
    Q(k)     ∝ exp(-(k - K*)² / (2·1.5²)), so that a near miss costs little
    loss     -Σ_k Q(k) log softmax(head(h))_k

The first token after an anchor is predicted by the anchor itself, autoregressively; the j-th by the mask before it. So
a stride of k tokens needs k - 1 inserted masks in training. If the text ends within 16 tokens, K* is at most the number
left.

τ is in nats per token. The paper's 2.8 is for a 7B model of natural text; a small model of a toy language needs a
smaller one. `horizon_loss` is minimised over `model.attachments["horizon"]` (see probe.training.horizon_stage).

A low loss is not the aim itself: a draft is accepted if it is the token that autoregression writes. So there is a
second target beside the published one:

    A        how many tokens of a stride from the anchor are accepted: the first, and the drafts up to the first wrong
    U(k)     = min(A, k) - c·k, what a stride of k tokens is worth if each costs c accepted ones
    loss     Σ_k (head(h)_k - U(k))², so that the head learns the expected worth of every stride

Its highest output is then the largest k with P(A ≥ k) > c. The head has the same shape, and decodes in the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from probe.paradigms.attachments import attached
from probe.paradigms.inserted import ANCHOR_RATE, LONGEST_BLOCK, insert

if TYPE_CHECKING:
    from probe.paradigms.protocols import ModelLike

WIDTH = 1.5  # standard deviation of the target, in tokens


class Horizon(nn.Module):
    """Linear(d, d/4) - GELU - Linear(d/4, 16): logits over strides of 1 to 16 tokens."""

    def __init__(self, d_model: int, longest: int = LONGEST_BLOCK):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(d_model, d_model // 4), nn.GELU(), nn.Linear(d_model // 4, longest))

    def forward(self, hidden: Tensor) -> Tensor:
        return self.layers(hidden)

    def stride(self, hidden: Tensor) -> Tensor:
        """The most likely horizon, in tokens, of each hidden state."""
        return self(hidden.to(next(self.parameters()).dtype)).argmax(-1) + 1


def new_horizon(model: ModelLike, seed: int = 0) -> Horizon:
    """An untrained head for a model, as its attachment, with a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = Horizon(model.d_model)
    model.attachments["horizon"] = head.to(model.device, model.dtype)
    return head


def draw_anchors(tokens: Tensor, generator: torch.Generator, given: Tensor | None = None) -> Tensor:
    """Training anchors (batch × length), drawn as in stage I from the tokens before those to be written, which are all
    that are not `given`."""
    anchors = torch.rand(tokens.shape, generator=generator, device=tokens.device) < ANCHOR_RATE
    anchors[:, -1] = False  # nothing comes after the last token
    return anchors if given is None else anchors & ~given.roll(-1, dims=1)


def horizon_loss(model: ModelLike, tokens: Tensor, anchors: Tensor, tau: float) -> Tensor:
    """The loss of a model's horizon head at the anchors of clean text. Only the head gets a gradient."""
    losses, hidden = stride_losses(model, tokens, anchors)
    said = attached(model, "horizon")(hidden)
    return nn.functional.cross_entropy(said.float(), soft_target(competence(losses, tau)))


def stride_losses(model: ModelLike, tokens: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """CE_j (anchors × 16, inf after the end of the text) and the last hidden states (anchors × d), of every token
    where `anchors` (batch × length) is True, row by row."""
    found = look_ahead(model, tokens, anchors)
    return found.losses, found.hidden


@dataclass(frozen=True)
class Ahead:
    """What a model predicts for the 16 tokens after each anchor while all of them are masks (anchors × 16)."""

    losses: Tensor  # CE_j; inf after the end of the text
    right: Tensor  # whether the best token is the text's; False after the end
    sure: Tensor  # the probability of the best token; 0 after the end
    hidden: Tensor  # (anchors × d), the anchors' last hidden states

    def __getitem__(self, anchors: Tensor) -> Ahead:
        return Ahead(self.losses[anchors], self.right[anchors], self.sure[anchors], self.hidden[anchors])

    def __len__(self) -> int:
        return len(self.losses)


@torch.no_grad()
def look_ahead(model: ModelLike, tokens: Tensor, anchors: Tensor) -> Ahead:
    """The predictions after every token where `anchors` (batch × length) is True, row by row. A mask is never a best
    token, as in decoding."""
    length, longest, mask = tokens.shape[1], LONGEST_BLOCK, model.paradigm.given_mask()
    left = length - 1 - torch.arange(length, device=tokens.device)  # tokens behind each place
    masks = (left - 1).clamp(min=0, max=longest - 1).expand_as(tokens)
    canvas = insert(tokens, anchors, masks, mask)
    hidden = model.run_trunk(canvas)
    logits = model.unembed(hidden).float()
    answers = tokens.gather(1, (canvas.places + 1).clamp(max=length - 1))
    each = nn.functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), reduction="none").view_as(answers)
    logits[..., mask] = -math.inf
    highest, best = logits.max(-1)
    sure = (highest - logits.logsumexp(-1)).exp()
    row, slot = (canvas.block > 0).nonzero(as_tuple=True)
    anchor = canvas.block[row, slot] - 1

    def behind_anchors(values: Tensor, nothing: float) -> Tensor:
        dense = values.new_full((*tokens.shape, longest), nothing)
        dense[:, : length - 1, 0] = values[:, : length - 1]
        dense[row, anchor, canvas.places[row, slot] - anchor] = values[row, slot]
        return dense[anchors]

    return Ahead(
        behind_anchors(each, math.inf),
        behind_anchors(best == answers, False),
        behind_anchors(sure, 0.0),
        hidden[:, :length][anchors],
    )


def competence(losses: Tensor, tau: float) -> Tensor:
    """K* from CE_1 … CE_16 (… × 16): the largest k whose mean loss is below τ, else 1."""
    count = torch.arange(1, losses.shape[-1] + 1, device=losses.device)
    below = losses.cumsum(-1) / count < tau
    return torch.where(below, count, 1).amax(-1)


def soft_target(best: Tensor, longest: int = LONGEST_BLOCK) -> Tensor:
    """Q (… × 16), a bell around K* over the possible strides."""
    count = torch.arange(1, longest + 1, device=best.device)
    return (-((count - best[..., None]) ** 2) / (2 * WIDTH**2)).softmax(-1)


def accepted(right: Tensor) -> Tensor:
    """A from the `right` drafts (… × 16): the first token, which autoregression writes, and the drafts up to the first
    wrong one."""
    return 1 + right[..., 1:].long().cumprod(-1).sum(-1)


def worth(length: Tensor, cost: float, longest: int = LONGEST_BLOCK) -> Tensor:
    """U (… × 16) of every stride, where `length` (…) tokens would be accepted."""
    count = torch.arange(1, longest + 1, device=length.device)
    return count.minimum(length[..., None]) - cost * count
