"""Masked diffusion: some tokens are hidden behind [M], all of them are predicted at once, seeing both sides.

The noise level t is drawn per example from (0.001, 1] and hides each token with probability t. With `shift`, as in the
models adapted from AR ones (DiffuLLaMA, Dream), the logits one slot before a mask answer for it, and the leftmost token
is never asked; without (LLaDA, Tiny-A2D), the mask's own slot answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from probe.errors import ProbeError, nearest
from probe.paradigms.paradigm import Lesson, Paradigm, labels_read_at

LOWEST_NOISE = 1e-3
WEIGHTINGS = ("uniform", "1/t")


@dataclass(frozen=True)
class Masked(Paradigm):
    """Absorbing-state diffusion. `weighting` is what a token hidden at noise t counts: 1 ("uniform") or 1/t."""

    name: ClassVar[str] = "masked"

    attention: str = "full"
    weighting: str = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weighting not in WEIGHTINGS:
            raise ProbeError(
                f"weighting {self.weighting!r}",
                expected="one of " + ", ".join(WEIGHTINGS),
                found=repr(self.weighting),
                remedy=nearest(self.weighting, WEIGHTINGS),
            )

    def lesson(self, tokens: Tensor, generator: torch.Generator) -> Lesson:
        t = noise_levels((tokens.shape[0], 1), generator, tokens.device)
        hidden = hide(tokens, t, generator)
        labels = labels_read_at(tokens, hidden, shift=self.shift)
        counts = 1 / t if self.weighting == "1/t" else torch.ones_like(t)
        noised = tokens.masked_fill(hidden, self.given_mask())
        return Lesson(self.canvas(noised), labels, counts.expand(labels.shape))


def noise_levels(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """t, uniform on (LOWEST_NOISE, 1]."""
    return LOWEST_NOISE + (1 - LOWEST_NOISE) * torch.rand(shape, generator=generator, device=device)


def hide(tokens: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
    """Which tokens noise t hides, each by a draw of its own."""
    return torch.rand(tokens.shape, generator=generator, device=tokens.device) < t
