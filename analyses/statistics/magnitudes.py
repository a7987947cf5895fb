"""Magnitudes of means, corrected for the noise that |·| would count as strength.

A node's score is a mean over prompts, and mass, spread and depth are computed from its magnitude. But |mean| of pure
noise is not 0: a head that does nothing still gets 0.8 standard errors of "attribution". Over hundreds of heads that
noise looks like computation spread around the middle layers, more so in the model whose scores vary more; and a
bootstrap, which adds its own noise to every mean, doubles it (see `recentred`).

So magnitudes are cross-fitted: one half of the prompts gives the sign and the other half the value,

    |s| ≈ mean over one half · sign(mean over the other half)

which is 0 on average if the true score is 0, and |s| if it is large. Averaged over all ways of halving, with τ the
standard error of the mean m and z = m/τ, that is m·(2Φ(z) - 1) - 2τ·φ(z). Squares are m² - τ². Single values may be
below 0: such a node is within noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

_LEAST = 1e-150  # with a standard error of 0 (all prompts agree) z is infinite, as it should be


def magnitudes(weights: NDArray, values: NDArray) -> NDArray:
    """The magnitudes of the means of values (n × k) under weights (r × n), with noise subtracted: r × k."""
    mean, error = _moments(weights, values)
    z = mean / error
    with np.errstate(under="ignore"):
        density = np.exp(-np.minimum(z**2, 1400) / 2) / np.sqrt(2 * np.pi)
    return mean * (2 * ndtr(z) - 1) - 2 * error * density


def squares(weights: NDArray, values: NDArray) -> NDArray:
    """The squares of the means of values (n × k) under weights (r × n), with noise subtracted: r × k."""
    mean, error = _moments(weights, values)
    return mean**2 - error**2


def _moments(weights: NDArray, values: NDArray) -> tuple[NDArray, NDArray]:
    """Weighted means, and their standard errors."""
    mean = weights @ values
    drawn = 1 / (weights**2).sum(-1, keepdims=True)  # the effective number of equal weights
    spread = np.maximum(np.abs(weights) @ values**2 - mean**2, 0)  # random signs are negative weights
    floor = 1e-15 * np.abs(values).max(initial=0.0)  # the precision of a difference of squares
    error = np.sqrt(spread / np.maximum(drawn - 1, 1))
    return mean, np.where(error <= floor, _LEAST, error)
