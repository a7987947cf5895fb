"""Front-loading as a statistic: from a profile of attribution over depth to one number.

A profile holds each layer's share of attribution; depth x runs from 0 to 1.

    centre          CoM = Σ share · x
    front_loading   FLI = 1 - 2·CoM: 1 if all is in the first layer, -1 if in the last
    early           the share below a third of the depth
    wasserstein     W₁ between two profiles
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analyses.components.scores import (
    Scores,
    depths,
)
from analyses.statistics import Statistic

EARLY = 1 / 3


def shares(mass: NDArray) -> NDArray:
    """Mass as shares of its sum; NaN if all of it is noise and the sum is not above 0."""
    total = mass.sum(-1, keepdims=True)
    return mass / np.where(total > 0, total, np.nan)


def centre(profile: NDArray) -> NDArray:
    return profile @ depths(profile.shape[-1])


def front_loading(profile: NDArray) -> NDArray:
    return 1 - 2 * centre(profile)


def early(profile: NDArray) -> NDArray:
    return profile[..., depths(profile.shape[-1]) < EARLY].sum(-1)


def wasserstein(a: NDArray, b: NDArray) -> NDArray:
    """W₁ between profiles over normalised depth: the area between their cumulative sums.

    >>> float(wasserstein(np.array([1.0, 0.0]), np.array([0.0, 1.0])))
    0.5
    """
    return np.abs(np.cumsum(a - b, axis=-1)).sum(-1) / a.shape[-1]


def profile_of(scores: Scores) -> Statistic:
    magnitude = scores.magnitude()
    return lambda weights: shares(scores.by_layer(magnitude(weights)))


def index_of(scores: Scores) -> Statistic:
    profile = profile_of(scores)
    return lambda weights: front_loading(profile(weights))


def early_of(scores: Scores) -> Statistic:
    profile = profile_of(scores)
    return lambda weights: early(profile(weights))


def figures_of(scores: Scores) -> Statistic:
    """Both of `FIGURES`, from one profile."""
    profile = profile_of(scores)

    def figures(weights: NDArray) -> NDArray:
        found = profile(weights)
        return np.stack([front_loading(found), early(found)], axis=1)

    return figures


FIGURES = ("FLI", "early mass")
