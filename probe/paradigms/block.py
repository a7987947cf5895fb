"""Block diffusion: blocks of N tokens are written left to right, each by masked diffusion that sees the earlier blocks.

N interpolates between paradigms: N = 1 with shift is autoregression, N = the whole text is masked diffusion. Training
takes one pass over [x_t ⊕ x_0], a noisy copy followed by the clean text with the same position ids. A noisy block sees
itself and the clean blocks before it; the clean copy is causal by blocks. With `shift` the first token of a block is
predicted at the clean token before it, since that token is written by then; so N = 1 is exactly AR.

Every block has its own noise level t, and the loss weighs a hidden token by 1 ("uniform"), by 1/t as in the likelihood
bound, or by "1/t clipped", with the t of its block (see `probe.paradigms.masked`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from probe.paradigms.canvas import Canvas
from probe.paradigms.masked import by_noise, hide, noise_levels, refuse_weighting
from probe.paradigms.paradigm import NO_LABEL, Paradigm, TrainingBatch
from probe.paradigms.visibility import block_size

WEIGHTINGS = ("uniform", "1/t", "1/t clipped")


@dataclass(frozen=True)
class Block(Paradigm):
    """Semi-autoregressive diffusion over blocks; `attention` has their size ("block:4")."""

    name: ClassVar[str] = "block"

    attention: str = "block:4"
    weighting: str = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_weighting(self.weighting, WEIGHTINGS)

    @property
    def block_size(self) -> int | None:
        """Tokens per block, or None if attention is full (one block)."""
        return block_size(self.attention)

    def training_batch(self, tokens: Tensor, generator: torch.Generator, given: Tensor | None = None) -> TrainingBatch:
        length = tokens.shape[1]
        size = self.block_size or length
        block = torch.arange(length, device=tokens.device) // size
        t = noise_levels((tokens.shape[0], int(block[-1]) + 1), generator, tokens.device)[:, block]
        hidden = hide(tokens, t, generator, given)
        noised = tokens.masked_fill(hidden, self.given_mask())
        labels = self._labels(tokens, hidden, block)
        return TrainingBatch(beside_clean(noised, tokens, size), labels, self._weights(t))

    def _weights(self, t: Tensor) -> Tensor:
        """The loss weight of each slot of [x_t ⊕ x_0] (batch × slots) by the noise level (batch × length) of the token
        that it predicts."""
        each = by_noise(self.weighting, t)
        if self.shift:
            each = each.roll(-1, dims=1)
        return torch.cat([each, each], 1)

    def _labels(self, tokens: Tensor, hidden: Tensor, block: Tensor) -> Tensor:
        """Labels over [x_t ⊕ x_0]."""
        asked = tokens.masked_fill(~hidden, NO_LABEL)
        nothing = torch.full_like(asked, NO_LABEL)
        if not self.shift:
            return torch.cat([asked, nothing], dim=1)
        from_before = torch.cat([asked[:, 1:], nothing[:, :1]], dim=1)
        ends_block = torch.cat([block[1:] != block[:-1], block.new_ones(1, dtype=torch.bool)])
        return torch.cat(
            [from_before.masked_fill(ends_block, NO_LABEL), from_before.masked_fill(~ends_block, NO_LABEL)], 1
        )


def beside_clean(noised: Tensor, clean: Tensor, size: int) -> Canvas:
    """The canvas [x_t ⊕ x_0]: noisy blocks and the clean text that they continue."""
    length = clean.shape[1]
    place = torch.arange(length, device=clean.device)
    block = place // size
    same, before, upto = (block[:, None] == block, block[:, None] > block, block[:, None] >= block)
    allowed = torch.cat([torch.cat([same, before], 1), torch.cat([torch.zeros_like(same), upto], 1)], 0)
    copies = torch.cat([block + 1, torch.zeros_like(block)])
    return Canvas(torch.cat([noised, clean], 1), allowed[None], torch.cat([place, place])[None], copies[None])
