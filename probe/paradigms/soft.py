"""What a flow sees in place of tokens: a mixture of noise and token at every place, and how far each place is.

A place that is `given` (a prompt's) holds the one-hot of its token, untouched by any noise, at τ = 1. Every other place
is open and holds I_t = (1-t)·noise + t·one-hot, with t the time at which the place's τ is reached: pure noise at τ = 0.

Being given is a mask of its own, not a time. An open place reaches τ = 1, too, at the end of a flow map's step; what
stands there then is what the map arrived at (`z`). Were that taken for given, the true token would be put in its place,
and a map in training would be shown the answer that it is asked for.

Most states are never held. The noise of a place follows from a seed (`draw`, one a row, or one for all rows) and the
token from the canvas, so the V numbers of each place are made when the backbone runs and forgotten after; only a state
on its way through a sampler has to be kept (`z`). Noise is drawn on the CPU, so that a GPU sees the same.

    canvas = model.canvas(tokens)                                  # the mask token stands at the places that are open
    given  = tokens != model.mask_id
    soft   = Soft(tau, tau, torch.tensor([7]), given)              # the noise of seed 7
    model.run(replace(canvas, soft=soft))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from probe.paradigms.schedule import Clock


@dataclass(frozen=True)
class Soft:
    """`tau` is where each place is, `until` where a flow map is to take it (the same, for a flow)."""

    tau: Tensor  # (batch or 1, slots), from 0 (noise) to 1 (no noise is left); 1 where a place is given
    until: Tensor  # (batch or 1, slots)
    draw: Tensor  # (batch or 1), the seed of a row's noise
    given: Tensor  # (batch or 1, slots), True where the canvas's token itself stands
    z: Tensor | None = None  # (batch, slots, vocabulary), the state itself; None where it follows from `draw`

    def mixed(self, tokens: Tensor, vocabulary: int, clock: Clock, mask: int) -> Tensor:
        """The state (batch, slots, vocabulary); at places that are given, the one-hot of the token."""
        token = torch.nn.functional.one_hot(tokens, vocabulary).to(self.tau.dtype)
        z = self.z
        if z is None:
            t = clock.time_of(self.tau)[..., None]
            z = t * token + (1 - t) * noise(self.draw, tokens.shape[1], vocabulary, mask).to(tokens.device)
        return torch.where(self.given[..., None], token, z)

    @staticmethod
    def all_of(parts: Sequence[Soft]) -> Soft:
        """Some states, one after the other; either all of them hold their z or none."""
        held = [part.z for part in parts if part.z is not None]
        axes = [torch.cat([getattr(part, name) for part in parts]) for name in ("tau", "until", "draw", "given")]
        return Soft(*axes, z=torch.cat(held) if held else None)

    def map(self, change: Callable[[Tensor], Tensor]) -> Soft:
        parts = (self.tau, self.until, self.draw, self.given, self.z)
        return Soft(*(part if part is None else change(part) for part in parts))  # type: ignore[arg-type]  # field by field


def step(z: Tensor, s: Tensor, t: Tensor, heading: Tensor) -> Tensor:
    """The state at time t of a state z that from time s on heads straight for `heading` (a distribution over tokens):
    (1-t)/(1-s)·z + (t-s)/(1-s)·heading. z itself where t = s. Times have z's axes but the last."""
    way = ratio(t - s, 1 - s)[..., None]
    return (1 - way) * z + way * heading


def ratio(above: Tensor, below: Tensor) -> Tensor:
    """above/below, and 0 where nothing is above: 0/0 stands where a place is given, or a step is none."""
    return torch.where(above == 0, 0.0, above / below.where(above != 0, 1.0))


def noise(draw: Tensor, slots: int, vocabulary: int, mask: int) -> Tensor:
    """Standard normal noise (rows, slots, vocabulary), each row's from its own seed; none on the mask, which is how a
    canvas writes "open" and no token that a text could hold."""
    rows = {seed: _row(seed, slots, vocabulary) for seed in dict.fromkeys(draw.tolist())}
    drawn = torch.stack([rows[seed] for seed in draw.tolist()])
    drawn[..., mask] = 0
    return drawn


def _row(seed: int, slots: int, vocabulary: int) -> Tensor:
    return torch.randn(slots, vocabulary, generator=torch.Generator().manual_seed(seed))
