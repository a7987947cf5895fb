"""The bootstrap of magnitudes, centred on denoised scores.

A bootstrap treats the data as the truth and measures how the estimate scatters. For means that is right. For magnitudes
it is not, since in the data no component is 0: those that do nothing show noise, which the bootstrap takes for the
truth and adds as much noise again. So here the truth is taken to be the denoised means (`magnitudes`, or 0 if nothing
is left), and the examples scatter around it:

    moved = values - mean + sign(mean) · magnitude

The resampled values of `moved`, minus their median, are the error of the estimate; the interval is the estimate ± their
95% quantile, and p is the share of them at least as far off as the null. If components are well above noise, this is
the plain paired bootstrap. `python -m analyses.calibration` compares the two when they are not.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from analyses.statistics.estimate import Estimate, Statistic
from analyses.statistics.finite import refuse_not_finite
from analyses.statistics.magnitudes import magnitudes
from analyses.statistics.weights import resamples, uniform
from probe.errors import ProbeError

COUNT = 2_000
_FIGURES = 2**23  # components × resamples held at a time


def recentred(
    make: Callable[..., Statistic],
    *values: NDArray,
    count: int = COUNT,
    level: float = 0.95,
    null: float = 0.0,
    seed: int = 0,
) -> Estimate:
    """A statistic of scores (each n × components; the same n examples, so that it is paired).

    `make` takes the scores, one argument each, and returns a function from weights to values.
    """
    n = _examples(values)
    for number, one in enumerate(values):
        refuse_not_finite(
            f"scores {number} of a statistic", one, {"example": range(n), "component": range(one.shape[1])}
        )
    estimate = np.asarray(make(*values)(uniform(n)))[0]
    statistic = make(*[one + (without_noise(one) - one.mean(0)) for one in values])
    weights = resamples(n, count, seed=seed)
    at_once = max(1, _FIGURES // max(one.shape[1] for one in values))
    pieces = [np.asarray(statistic(weights[at : at + at_once])) for at in range(0, count, at_once)]
    errors = np.concatenate(pieces)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # figures that are nowhere defined
        errors = np.abs(errors - np.nanmedian(errors, axis=0))
        reach = np.nanquantile(errors, level, axis=0)
    as_far = ((errors >= np.abs(estimate - null)) | np.isnan(errors)).sum(
        0
    )  # a resample without a value counts as no evidence
    p = np.where(np.isfinite(estimate) & np.isfinite(reach), (as_far + 1) / (count + 1), np.nan)
    error = reach / ndtri((1 + level) / 2)
    return Estimate(estimate, estimate - reach, estimate + reach, n, p, error, kind="recentred", level=level)


def without_noise(values: NDArray) -> NDArray:
    """The components' means, scaled to their denoised magnitudes."""
    return np.sign(values.mean(0)) * np.maximum(magnitudes(uniform(len(values)), values)[0], 0)


def _examples(values: tuple[NDArray, ...]) -> int:
    sizes = {len(one) for one in values}
    if len(sizes) != 1 or min(sizes) < 2:
        raise ProbeError(
            "a bootstrap", expected="at least 2 examples, the same for all", found=str(sorted(sizes)),
            remedy="Use more (n=256), and attribute all models on one batch.",
        )  # fmt: skip
    return sizes.pop()
