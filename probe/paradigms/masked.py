"""Masked diffusion: some tokens are replaced by [M], and all of them are predicted at once from both sides.

The noise level t is drawn per example from (0.001, 1] and hides each token with probability t. With `shift`, as in the
models adapted from AR ones (DiffuLLaMA, Dream), the logits one slot before a mask predict its token, and the leftmost
token is never predicted; without (LLaDA, Tiny-A2D), the mask's own slot predicts it.

`weighting` is the loss weight of a hidden token:

    uniform       1
    1/t           1/t, as in the likelihood bound
    1/t clipped   the same, but at most CLIP: otherwise one token in a nearly clean text gets the weight of hundreds
    context       larger if unmasked tokens are near (Dream): Σ ½ p (1-p)^(|n-m|-1) over the unmasked m
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from probe.errors import ProbeError, nearest
from probe.paradigms.paradigm import Paradigm, TrainingBatch, labels_read_at

LOWEST_NOISE = 1e-3
CLIP = 10.0
NEARNESS = 0.3  # p of the weighting "context"
WEIGHTINGS = ("uniform", "1/t", "1/t clipped", "context")


@dataclass(frozen=True)
class Masked(Paradigm):
    """Absorbing-state diffusion, all tokens of a text at once."""

    name: ClassVar[str] = "masked"

    attention: str = "full"
    weighting: str = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_weighting(self.weighting, WEIGHTINGS)

    def training_batch(self, tokens: Tensor, generator: torch.Generator, given: Tensor | None = None) -> TrainingBatch:
        t = noise_levels((tokens.shape[0], 1), generator, tokens.device)
        hidden = hide(tokens, t, generator, given)
        labels = labels_read_at(tokens, hidden, shift=self.shift)
        weights = self._weights(t, hidden)
        if self.shift:  # a weight belongs to the hidden token; with shift a slot predicts the token after it
            weights = weights.roll(-1, dims=1)
        return TrainingBatch(self.canvas(tokens.masked_fill(hidden, self.given_mask())), labels, weights)

    def _weights(self, t: Tensor, hidden: Tensor) -> Tensor:
        """The loss weight of each token if it is hidden (batch × length)."""
        return nearness(hidden) if self.weighting == "context" else by_noise(self.weighting, t).expand(hidden.shape)


def refuse_weighting(weighting: str, known: tuple[str, ...]) -> None:
    """Refuse a weighting that a paradigm does not have."""
    if weighting not in known:
        raise ProbeError(
            f"weighting {weighting!r}",
            expected="one of " + ", ".join(known),
            found=repr(weighting),
            remedy=nearest(weighting, known),
        )


def by_noise(weighting: str, t: Tensor) -> Tensor:
    """The loss weight of a hidden token by its noise level t, in the shape of `t`."""
    if weighting == "uniform":
        return torch.ones_like(t)
    return 1 / t if weighting == "1/t" else (1 / t).clamp(max=CLIP)


def nearness(hidden: Tensor, p: float = NEARNESS) -> Tensor:
    """How much unmasked text is near each token: Σ ½ p (1-p)^(distance - 1) over the unmasked ones."""
    place = torch.arange(hidden.shape[1], device=hidden.device)
    distance = (place[:, None] - place).abs()
    kernel = (0.5 * p * (1 - p) ** (distance - 1)).masked_fill(distance == 0, 0)
    return (~hidden).to(kernel.dtype) @ kernel


def noise_levels(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """t, uniform on (LOWEST_NOISE, 1]."""
    return LOWEST_NOISE + (1 - LOWEST_NOISE) * torch.rand(shape, generator=generator, device=device)


def hide(tokens: Tensor, t: Tensor, generator: torch.Generator, given: Tensor | None = None) -> Tensor:
    """Which tokens noise t hides, each drawn independently; given ones never. If nothing would be hidden, all tokens
    that are not given are."""
    hidden = torch.rand(tokens.shape, generator=generator, device=tokens.device) < t
    if given is None:
        return hidden
    hidden = hidden & ~given
    whole = given.any(1, keepdim=True) & ~hidden.any(1, keepdim=True)
    return torch.where(whole, ~given, hidden)
