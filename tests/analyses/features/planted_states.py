"""States of two models made of sparse directions that are known: some of both models, some of one alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from analyses.features import Dictionary, Stream, TrainingOptions, fit

D = 32
OPTIONS = TrainingOptions(latents=48, k=4, steps=700, rows=256, rate=1e-2, dead_after=5_000)


@dataclass(frozen=True)
class Planted:
    states: Tensor  # row × model × feature
    truth: Tensor  # direction × model × feature
    shared: int
    alone: int  # of each model

    @property
    def stream(self) -> Stream:
        return Stream.of_tensor(self.states, block=500)


def planted(n: int = 10_000, *, shared: int = 24, alone: int = 8, seed: int = 0, noise: float = 0.01) -> Planted:
    """Each direction is in 6% of rows, with an amount of 1 to 2."""
    generator = torch.Generator().manual_seed(seed)
    total = shared + 2 * alone
    truth = torch.randn(total, 2, D, generator=generator)
    truth /= truth.norm(dim=-1, keepdim=True)
    truth[shared : shared + alone, 1] = 0
    truth[shared + alone :, 0] = 0
    amount = (torch.rand(n, total, generator=generator) < 0.06) * (1 + torch.rand(n, total, generator=generator))
    states = torch.einsum("nl,lmd->nmd", amount, truth) + noise * torch.randn(n, 2, D, generator=generator)
    return Planted(states, truth, shared, alone)


def found(dictionary: Dictionary, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Of each planted direction, the largest cosine of a latent's, over all models together, and whose it is."""
    own = truth.flatten(1) / truth.flatten(1).norm(dim=1, keepdim=True)
    scaled = (dictionary.W_dec * dictionary.scale[:, None]).flatten(1)
    best = (own @ (scaled / scaled.norm(dim=1, keepdim=True)).T).max(1)
    return best.values, best.indices


def crosscoder(states: Tensor, options: TrainingOptions = OPTIONS) -> Dictionary:
    return fit(Stream.of_tensor(states, block=500), options, models=("ar", "diffusion"))


def by_hand(truth: Tensor, k: int = 4) -> Dictionary:
    """A crosscoder whose latents are the given directions: it reads what it writes."""
    flat = truth.flatten(1)
    W_enc = torch.linalg.pinv(flat).reshape(*truth.shape[1:], len(truth))
    zero = torch.zeros(truth.shape[1:])
    return Dictionary(W_enc, torch.zeros(len(truth)), truth, zero, torch.ones(truth.shape[1]), k, ("ar", "diffusion"))


def coordinates(strength: float, models: tuple[str, ...] = ("model",)) -> Dictionary:
    """Every coordinate and its opposite, all at once, so that `strength` of each state is rebuilt."""
    count = len(models)
    axes = torch.eye(count * D).reshape(-1, count, D)
    rows = torch.cat([axes, -axes])
    latents = len(rows)
    about = {"layer": 0}
    W_enc = rows.permute(1, 2, 0)
    return Dictionary(W_enc, torch.zeros(latents), strength * rows, torch.zeros(count, D), torch.ones(count),
                      latents // 2, models, about)  # fmt: skip
