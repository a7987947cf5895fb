"""Latent scaling: which latents of a crosscoder both models have, and which only one (Minder et al. 2025).

A latent whose decoder has no length in model B looks like a concept that B lacks. Two artefacts look the same: training
may have kept the length small although B has the concept (shrinkage), or B's half of it may have gone to another latent
that fires on the same tokens (decoupling). Least squares in closed form tell them apart. For a latent f and a model M,

    b^ε = Σ f e / Σ f²     e: what M's reconstruction leaves, the latent's own part put back
    b^r = Σ f r / Σ f²     r: its own part, and those of other latents that lean to one model (less their means)

and ν^ε, ν^r are the lengths of b in the model where it is shorter, over those where it is longer. The thresholds are
the paper's, fixed before any result was seen:

    M only      ν^ε < 0.2 with 95% confidence, and ν^r < 0.5
    shared      ν^ε ≥ 0.5
    undecided   all between; and rare: fired in too few groups of examples to say

The paper scales along the latent's own direction, since a chat model's axes are its base model's. Twins may be further
apart, so here b may point anywhere: two rotations of the same states are no difference. Noise makes such a length too
long; therefore Σ b_g·b_h runs over pairs of *different* groups of examples g, h, which leaves it unbiased. The
confidence is Student's, from a jackknife over groups.

Cost: one pass over the states; per row models × feature × latents products, and leaning × latents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit

from analyses.features.dictionary import Dictionary
from analyses.features.stream import Stream
from probe.errors import ProbeError

ABSENT = 0.2  # ν^ε below which a latent is absent from a model
DECOUPLED = 0.5  # ν^r above which another latent stands in for it
SHARED = 0.5  # ν^ε from which on a latent is of both
GROUPS = 20  # of examples
FEWEST_GROUPS, FEWEST_ROWS = 8, 32  # in which a latent has to fire
LEANING = (0.3, 0.7)  # a latent's share of length in one model outside of which it leans to one
BOTH, UNDECIDED, RARE = "shared", "undecided", "rare"
CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Sums:
    """For every group of examples and latent: Σ f² (group, latent), and Σ f·target (model, group, latent, feature)."""

    squares: NDArray
    products: NDArray

    def lengths(self) -> tuple[NDArray, NDArray]:
        """|b|² of every model and latent without bias, and the same with each group left out (group, model, latent)."""
        total, squares = self.products.sum(1), self.squares.sum(0)
        length, own = (total**2).sum(-1), (self.products**2).sum(-1).swapaxes(0, 1)  # own: group × model × latent
        along = np.einsum("mld,mgld->gml", total, self.products)
        whole = _unbiased(length, own.sum(0), squares, (self.squares**2).sum(0))
        rest, rest_of_squares = squares - self.squares, (self.squares**2).sum(0) - self.squares**2
        without = _unbiased(length - 2 * along + own, own.sum(0) - own, rest[:, None], rest_of_squares[:, None])
        return whole, without


def _unbiased(total: NDArray, own: NDArray, squares: NDArray, own_squares: NDArray) -> NDArray:
    """From products of different groups only."""
    pairs = squares**2 - own_squares
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total - own) / np.where(pairs > 0, pairs, np.nan)


def scaling(dictionary: Dictionary, stream: Stream) -> pd.DataFrame:
    """A row a latent: `class`, which model it is longer in, ν^ε with the upper end of its interval, ν^r, how often it
    fires, and its share of the rebuilt states."""
    if len(dictionary.models) != 2:
        raise ProbeError("latent scaling", expected="a crosscoder of two models",
                         found=", ".join(dictionary.models), remedy="Train features.crosscoder.")  # fmt: skip
    counted = _Counted(dictionary, stream)
    told = judged(counted.left, counted.others)
    names = dictionary.models
    fired, rows = counted.fired, max(1, counted.rows)
    rare = (fired < FEWEST_ROWS) | ((counted.left.squares > 0).sum(0) < FEWEST_GROUPS)
    longer = np.asarray(names)[told["longer"].to_numpy()]
    only = np.char.add(longer.astype(str), " only")
    classes = np.where(told["absent"], only, np.where(told["shared"], BOTH, UNDECIDED))
    energy = counted.left.squares.sum(0)
    share = dictionary.W_dec.norm(dim=2).numpy()
    return pd.DataFrame(
        {
            "latent": np.arange(dictionary.latents), "class": np.where(rare, RARE, classes), "longer in": longer,
            "nu_error": told["nu"], "nu_error_high": told["nu_high"], "nu_reconstruction": told["nu_others"],
            "decoder share": share[:, 1] / share.sum(1), "fires": fired / rows, "rows": fired,
            "of all": energy / max(energy.sum(), 1e-12),
        }
    )  # fmt: skip


def judged(left: Sums, others: Sums | None = None) -> pd.DataFrame:
    """For each latent: the model where it is longer, ν, its upper end, and the class."""
    whole, without = left.lengths()
    longer = np.nan_to_num(whole).argmax(0)
    at = np.arange(whole.shape[1])
    own, other = whole[longer, at], whole[1 - longer, at]
    excess, error = beyond(whole, without, longer, ABSENT)
    upper = excess + stdtrit(len(without) - 1, CONFIDENCE) * error
    with np.errstate(invalid="ignore", divide="ignore"):
        nu = np.sqrt(np.maximum(other, 0) / own)
        high = ABSENT + upper / np.sqrt(own)
        nu_others = np.zeros_like(nu)
        if others is not None:
            there, _ = others.lengths()
            nu_others = np.sqrt(np.maximum(there[1 - longer, at], 0) / np.maximum(there[longer, at], 1e-12))
    absent = (upper < 0) & (nu_others < DECOUPLED)
    return pd.DataFrame({"longer": longer, "nu": nu, "nu_high": high, "nu_others": nu_others, "absent": absent,
                         "shared": nu >= SHARED})  # fmt: skip


def beyond(whole: NDArray, without: NDArray, longer: NDArray, share: float) -> tuple[NDArray, NDArray]:
    """A latent's length in the other model less `share` of that in its own, and its error. A latent that is absent from
    the other model has less than 0 here; nothing is divided by what may be nothing.

    Errors of squares go over to lengths by the slope of the root; near 0, where that has none, by the slope as far from
    0 as the square's own error. (Left as squares, a length at the threshold is called absent in 6% of cases, since an
    estimate that is too low looks surer, too; roots of each group's figure find what is absent in 87% only.)"""
    at = np.arange(whole.shape[1])
    changes = without - without.mean(0)
    weight = (len(without) - 1) / len(without)
    far = np.maximum(whole, np.sqrt(weight * (changes**2).sum(0)))
    slopes = 0.5 / np.sqrt(np.maximum(far, 1e-24))
    lengths = np.sign(whole) * np.sqrt(np.abs(whole))
    moved = slopes[1 - longer, at] * changes[:, 1 - longer, at] - share * slopes[longer, at] * changes[:, longer, at]
    return lengths[1 - longer, at] - share * lengths[longer, at], np.sqrt(weight * (moved**2).sum(0))


class _Counted:
    """What a pass over the states adds up."""

    def __init__(self, dictionary: Dictionary, stream: Stream):
        count, d, latents = len(dictionary.models), dictionary.d_model, dictionary.latents
        groups = min(GROUPS, len(stream.sizes))
        if groups < FEWEST_GROUPS:
            raise ProbeError("latent scaling", expected=f"at least {FEWEST_GROUPS} blocks of examples",
                             found=str(groups), remedy="Give it more examples, or smaller blocks.")  # fmt: skip
        share = dictionary.W_dec.norm(dim=2)
        share = share[:, 1] / share.sum(1).clamp(min=1e-12)
        leaning = ((share < LEANING[0]) | (share > LEANING[1])).nonzero()[:, 0]
        squares = torch.zeros(groups, latents, dtype=torch.float64)
        products = torch.zeros(count, groups, latents, d, dtype=torch.float64)
        together = torch.zeros(groups, latents, len(leaning), dtype=torch.float64)
        sums = torch.zeros(groups, latents, dtype=torch.float64)
        fired = torch.zeros(latents, dtype=torch.long)
        self.rows = 0
        with torch.no_grad():
            for number, rows in stream.blocks():
                scaled, group = dictionary.scaled(rows), number % groups
                latent = dictionary.chosen(dictionary.before(scaled))
                left = scaled - dictionary.b_dec - dictionary.parts(latent)
                squares[group] += latent.square().sum(0)
                products[:, group] += torch.einsum("rl,rmd->mld", latent, left)
                together[group] += latent.T @ latent[:, leaning]
                sums[group] += latent.sum(0)
                fired += (latent > 0).sum(0)
                self.rows += len(rows)
        self.fired = fired.numpy()
        own = dictionary.W_dec.double().transpose(0, 1)  # model × latent × feature
        self.left = Sums(squares.numpy(), (products + squares[None, :, :, None] * own[:, None]).numpy())
        means = sums.sum(0) / max(1, self.rows)
        together -= sums[:, :, None] * means[leaning]
        together[:, leaning, torch.arange(len(leaning))] = 0
        rest = torch.einsum("glk,mkd->mgld", together, own[:, leaning])
        self.others = Sums(squares.numpy(), (rest + squares[None, :, :, None] * own[:, None]).numpy())
