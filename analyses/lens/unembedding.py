"""From a state of the residual stream to a belief about the token: the model's own final norm and unembedding.

Every lens ends here; a head between the two (ModernBERT's) is a part of the way. The softmax is over the ids that both
twins have, without the mask: a diffusion model was never trained to predict [M], and distributions over vocabularies of
different sizes cannot be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from analyses.activations.answer_states import AnswerStates
from probe.models.model import Model
from probe.models.norms import Norm
from probe.models.weights import device_of, weight_of
from probe.readings import comparable

LOGITS_AT_ONCE = 2**25


def rank_of(log_p: Tensor, target: Tensor) -> Tensor:
    """The rank of each question's target (question × node) among log-probabilities (question × node × token).

    1 is the best. Tokens that tie share the mean of their ranks, so a uniform distribution ranks the target in the
    middle.
    """
    its_own = log_p.gather(-1, target.to(log_p.device)[:, None, None].expand(-1, log_p.shape[1], 1))
    return ((log_p > its_own).sum(-1) + (log_p >= its_own).sum(-1) + 1) / 2


@dataclass(frozen=True, eq=False)
class Unembedding:
    """The final norm, the head if there is one, and the unembedding, over `vocabulary` ids (None: all) without the
    mask."""

    model: Model
    vocabulary: int | None = None

    @classmethod
    def of(cls, states: AnswerStates) -> Unembedding:
        return cls(states.model, states.vocabulary)

    @property
    def norm(self) -> nn.Module:
        return self.model.layout.part(self.model.backbone, "final_norm")

    @property
    def unembed(self) -> nn.Module:
        return self.model.layout.part(self.model.backbone, "unembed")

    @property
    def weight(self) -> Tensor:
        """(token, feature)."""
        return weight_of(self.unembed)

    def logits(self, normed: Tensor) -> Tensor:
        """From the final norm's output (… × feature)."""
        return comparable(self.model.unembed(self._moved(normed)).float(), self.model, self.vocabulary)

    def log_probabilities(self, states: Tensor) -> Tensor:
        """From states of the residual stream (… × feature)."""
        return self.logits(self.norm(self._moved(states))).log_softmax(-1)

    def at_once(self, states_each: int) -> int:
        """How many questions to unembed together, each with this many states."""
        return max(1, LOGITS_AT_ONCE // (states_each * self.model.vocabulary))

    def directions(self, tokens: Tensor) -> Tensor:
        """The rows of the unembedding of some tokens."""
        weight = self.weight
        return weight[tokens.to(weight.device)].float()

    def frozen(self, states: Tensor) -> tuple[Tensor, Tensor, bool]:
        """The final norm at these states, as a linear map with its scale held fixed.

        The factor of each feature (questions × feature), the bias, and whether the mean is subtracted first: LayerNorm
        and RMSNorm.
        """
        norm, states = Norm.of(self.norm), self._moved(states).float()
        gain = torch.ones_like(states[..., :1]) if norm.gain is None else norm.gain.float()
        added = torch.zeros_like(states[0]) if norm.offset is None else norm.offset.float()
        return gain * norm.scale(states)[..., None], added, norm.centred

    def _moved(self, states: Tensor) -> Tensor:
        return states.to(device_of(self.unembed), self.model.dtype)
