"""How noise and time enter a stock backbone: only through its input.

The input of a place whose state is I_t = (1-t)·noise + t·one-hot is

    c(t)·(I_t @ E) + time(τ)            E: the token embedding, c(t) = 1/√(t² + (1-t)²·V)

c keeps it as large as a token's embedding at every t (V noises of unit size add up to √V of it) and is 1 where the
token is given. `time` is a small attachment, sines of τ and two layers, whose last layer begins at zero. So a given
token enters exactly as it enters the autoregressive model, a flow made from one starts as that model, and a model
without the attachment is one whose attachment has learnt nothing. The blocks, their names and every recorded site are
those of the stock class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from probe.paradigms.protocols import ModelLike

WAVES, FASTEST = 32, 100.0  # sines, from 1 to so many radians on the whole way from noise to token


class TimeEmbedding(nn.Module):
    """What a time (…) adds to the input of its place (…, width)."""

    def __init__(self, width: int):
        super().__init__()
        self.rise = nn.Linear(2 * WAVES, width)
        self.write = nn.Linear(width, width)
        # Seeded, so that two twins begun from one model begin alike.
        nn.init.normal_(self.rise.weight, std=(2 * WAVES) ** -0.5, generator=torch.Generator().manual_seed(0))
        for silent in (self.rise.bias, self.write.weight, self.write.bias):
            nn.init.zeros_(silent)

    @classmethod
    def beside(cls, model: ModelLike) -> TimeEmbedding:
        return cls(model.d_model)

    def forward(self, time: Tensor) -> Tensor:
        speed = torch.logspace(0, 1, WAVES, base=FASTEST, device=time.device)
        angle = time[..., None] * speed
        waves = torch.cat([angle.sin(), angle.cos()], -1).to(self.rise.weight.dtype)
        return self.write(nn.functional.silu(self.rise(waves)))


def input_scale(t: Tensor, vocabulary: int) -> Tensor:
    """c(t), which keeps a mixture of noise and token as large as a token."""
    return (t.square() + (1 - t).square() * vocabulary).rsqrt()
