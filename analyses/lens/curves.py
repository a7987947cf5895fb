"""Beliefs layer by layer: the distribution over tokens after each layer, compared with the final one.

Layer -1 is the embedding; layer l the state after l; the last one gives the model's answer. For each question and
layer:

    kl           KL(final ‖ here), in nats: how far this belief is from the final one
    entropy      nats
    rank         of the target, 1 being the best token
    agrees       whether the best token here is the final one

and for each question, as a share of the L layers:

    prediction depth    the first depth from which on the best token stays the final one
    KL-half-depth       where the KL falls below half of its value at the embedding and stays there; interpolated
                        linearly between layers
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from analyses.activations.answer_states import AnswerStates
from analyses.lens.tuned import TunedLens
from analyses.lens.unembedding import Unembedding, rank_of

LENS_SITES = ("resid_pre", "final_norm")


@dataclass(frozen=True, eq=False)
class Curves:
    """For each question (row) and state (column: the embedding, then each layer)."""

    kl: Tensor
    entropy: Tensor
    rank: Tensor
    agrees: Tensor

    @property
    def layers(self) -> list[int]:
        return list(range(-1, self.kl.shape[1] - 1))

    @property
    def prediction_depth(self) -> Tensor:
        """0 (the embedding knows) to 1 (only the last layer does)."""
        stays = self.agrees.flip(1).cumprod(1).sum(1)
        return (self.kl.shape[1] - stays) / (self.kl.shape[1] - 1)

    @property
    def kl_half_depth(self) -> Tensor:
        return crossing(self.kl, self.kl[:, :1] / 2)


def crossing(falling: Tensor, level: Tensor) -> Tensor:
    """The depth (0 to 1) from which each row stays at or below its level, interpolated linearly between states."""
    states = falling.shape[1]
    above = falling > level
    # The last state above the level; later ones are at or below it.
    last = states - 1 - above.flip(1).float().argmax(1)
    last = last.masked_fill(~above.any(1), 0)
    after = (last + 1).clamp(max=states - 1)
    here, there = (falling.gather(1, at[:, None])[:, 0] for at in (last, after))
    share = ((here - level[:, 0]) / (here - there).clamp(min=torch.finfo(here.dtype).tiny)).clamp(0, 1)
    depth = ((last + share) / (states - 1)).clamp(max=1)
    return torch.where(above.any(1), depth, 0.0)


def curves(states: AnswerStates, tuned: TunedLens | None = None) -> Curves:
    """The beliefs about every answer after every layer, through the logit lens or a tuned one."""
    return beliefs_of(states, lambda entering, rows: entering if tuned is None else tuned(entering))


@torch.no_grad()
def beliefs_of(states: AnswerStates, translate: Callable[[Tensor, slice], Tensor]) -> Curves:
    """The same through any lens: `translate` takes the states that enter the layers and the indices of their
    questions."""
    unembedding = Unembedding.of(states)
    entering, normed, target = states.at("resid_pre"), states.at("final_norm"), states.target
    parts = []
    for rows in states.chunks(unembedding.at_once(entering.shape[1])):
        hidden = translate(entering[rows], rows)
        final = unembedding.logits(normed[rows]).log_softmax(-1)[:, None]
        believed = torch.cat([unembedding.log_probabilities(hidden), final], 1)
        parts.append(_compared(believed, final, target[rows]))
    return Curves(*(torch.cat(part).cpu() for part in zip(*parts, strict=True)))


def _compared(believed: Tensor, final: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    kl = kl_div(believed, final.expand_as(believed), reduction="none", log_target=True).sum(-1).clamp(min=0)
    entropy = torch.special.entr(believed.exp()).sum(-1)
    return kl, entropy, rank_of(believed, target), (believed.argmax(-1) == final.argmax(-1)).float()
