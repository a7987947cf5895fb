"""A sampler: in which order open places are written, and how many at a step.

Masked diffusion leaves the order free. The orders of the public families are `random` (each open place with probability
1/(steps left), as DiffuLLaMA does), `confidence` (the surest first), `margin` (the largest gap between the two best),
`entropy` (the lowest first) and `left_to_right`. `threshold` writes every place surer than it, at least one a step;
`block` keeps to one block of places until it is full.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from probe.errors import ProbeError, nearest

ORDERS = ("confidence", "margin", "entropy", "random", "left_to_right")


@dataclass(frozen=True)
class Sampler:
    """`steps` is the number of forward passes (None: one a token; at least one a block); `temperature` 0 takes the
    best token."""

    order: str = "confidence"
    steps: int | None = None
    threshold: float | None = None
    block: int | None = None
    temperature: float = 0.0

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise ProbeError(
                f"sampler {self.order!r}",
                expected="one of " + ", ".join(ORDERS),
                found=repr(self.order),
                remedy=nearest(self.order, ORDERS),
            )
        for name, lowest in (("steps", 1), ("block", 1), ("temperature", 0), ("threshold", 0)):
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise ProbeError(
                    f"sampler's {name}", expected=f"at least {lowest}", found=str(value), remedy="Choose a larger one."
                )

    def __str__(self) -> str:
        limits = {name: getattr(self, name) for name in ("steps", "threshold", "block")}
        parts = [f"{name} {value}" for name, value in limits.items() if value is not None]
        if self.temperature:
            parts.append(f"T {self.temperature:g}")
        return ", ".join([self.order, *parts])

    def with_steps(self, steps: int | None) -> Sampler:
        return self if steps is None else replace(self, steps=steps)


def choose(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """The token of each place: the best one, or a draw at a temperature (by the Gumbel trick, drawn on the CPU)."""
    if temperature == 0:
        return logits.argmax(-1)
    uniform = torch.rand(logits.shape, generator=generator).clamp_min(torch.finfo(torch.float32).tiny)
    return (logits / temperature - (-uniform.log()).log().to(logits.device)).argmax(-1)


def order_scores(order: str, probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """How early each place wants to be written (larger is earlier), from its distribution over tokens."""
    shape = probabilities.shape[:-1]
    if order == "confidence":
        return probabilities.amax(-1)
    if order == "margin":
        best = probabilities.topk(2, dim=-1).values
        return best[..., 0] - best[..., 1]
    if order == "entropy":
        return torch.special.entr(probabilities).sum(-1).neg()
    if order == "left_to_right":
        return -torch.arange(shape[1], device=probabilities.device).expand(shape).float()
    return torch.rand(shape, generator=generator).to(probabilities.device)


def first(scores: Tensor, eligible: Tensor, how_many: Tensor) -> Tensor:
    """The `how_many` (batch) eligible places of the highest scores; ties go to the left."""
    ranked = scores.masked_fill(~eligible, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    rank = ranked.argsort(dim=-1)
    return eligible & (rank < how_many[:, None])
