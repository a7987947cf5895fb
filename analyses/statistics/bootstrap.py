"""The bootstrap for any statistic of weighted examples.

A statistic is a function from weights (resamples × n, each row summing to 1) to values (resamples × …). That covers the
means of a table (`weights @ values`), ratios, and any function of means: the centre of mass of a model's attribution,
or its difference between two models that answered the same examples, which is then paired:

    bootstrap(lambda w: centre(w @ diffusion) - centre(w @ ar), n=256)

Every example is attributed or ablated once; only its weight is resampled. Intervals:

    percentile   the quantiles of the resampled values
    basic        those quantiles mirrored at the estimate
    bca          percentiles corrected for bias and skew (Efron), the acceleration from the jackknife: the default

Not for magnitudes: resampling adds noise to every mean, which biases functions of |means|. Such statistics use
`recentred`.

The p-value against a null is the level at which an interval of the same kind would just touch it, so p < 0.05 exactly
if the 95% interval excludes the null.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from analyses.statistics.estimate import Estimate, Statistic
from analyses.statistics.weights import RESAMPLES, resamples, uniform, without_each
from probe.errors import ProbeError, nearest

KINDS = ("bca", "percentile", "basic")
_AT_ONCE = 2_500  # resamples per call of a statistic: its intermediate arrays may be wide
_SORTED_AT_ONCE = 32  # figures


def bootstrap(
    statistic: Statistic,
    n: int,
    *,
    count: int = RESAMPLES,
    kind: str = "bca",
    level: float = 0.95,
    null: float = 0.0,
    seed: int = 0,
) -> Estimate:
    """A statistic of n examples with its interval.

    count   resamples
    kind    "bca", "percentile" or "basic", see above
    level   of the interval, 0.95 for 95%
    null    what p is tested against
    seed    of the draws
    """
    _refuse(kind, n)
    weights = resamples(n, count, seed=seed)
    skew = _acceleration(np.asarray(statistic(without_each(n)))) if kind == "bca" else None
    return _estimated(statistic, n, weights, skew, kind, level, null)


def bootstrap_of(
    statistic: Statistic,
    n: int,
    weights: NDArray,
    *,
    kind: str = "bca",
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate:
    """The same for `weights` from another design (`nested`, `crossed`).

    Then there is no single example to leave out, so the interval is corrected for bias but not for skew.
    """
    _refuse(kind, n)
    return _estimated(statistic, n, weights, None, kind, level, null)


def _estimated(
    statistic: Statistic, n: int, weights: NDArray, skew: NDArray | None, kind: str, level: float, null: float
) -> Estimate:
    estimate = np.asarray(statistic(uniform(*weights.shape[1:])))[0]
    pieces = [np.asarray(statistic(weights[at : at + _AT_ONCE])) for at in range(0, len(weights), _AT_ONCE)]
    draws = np.concatenate(pieces)
    lean = np.zeros_like(estimate) if skew is None else skew
    low, high, p, error = _intervals(draws, estimate, lean, kind, level, null)
    p = np.where(np.isfinite(estimate) & np.isfinite(low) & np.isfinite(high), p, np.nan)
    return Estimate(estimate, low, high, n, p, error, draws, kind, level)


def mean(
    values: ArrayLike,
    *,
    count: int = RESAMPLES,
    kind: str = "bca",
    level: float = 0.95,
    null: float = 0.0,
    seed: int = 0,
) -> Estimate:
    """The means over examples of values (n × …), each cell with its interval. Options as for `bootstrap`."""
    values = np.asarray(values, dtype=np.float64)
    flat = values.reshape(len(values), -1)

    def means(weights: NDArray) -> NDArray:
        return (weights @ flat).reshape(len(weights), *values.shape[1:])

    return bootstrap(means, len(values), count=count, kind=kind, level=level, null=null, seed=seed)


def ratio(
    over: ArrayLike, under: ArrayLike, *, count: int = RESAMPLES, kind: str = "bca", null: float = 0.0, seed: int = 0
) -> Estimate:
    """The ratio of two means over the same examples, with correlated errors. Options as for `bootstrap`."""
    top, bottom = (np.asarray(values, dtype=np.float64) for values in (over, under))
    tops, bottoms = (values.reshape(len(values), -1) for values in (top, bottom))

    def ratios(weights: NDArray) -> NDArray:
        return ((weights @ tops) / (weights @ bottoms)).reshape(len(weights), *top.shape[1:])

    return bootstrap(ratios, len(top), count=count, kind=kind, null=null, seed=seed)


def _intervals(
    draws: NDArray, estimate: NDArray, skew: NDArray, kind: str, level: float, null: float
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Each value's interval, p and standard error, in blocks: sorting is fast within the cache."""
    flat, estimates, skews = draws.reshape(len(draws), -1), estimate.ravel(), skew.ravel()
    found = np.empty((4, len(estimates)))
    for start in range(0, len(estimates), _SORTED_AT_ONCE):
        block = slice(start, start + _SORTED_AT_ONCE)
        ordered = np.sort(flat[:, block].T, axis=1)  # a figure a row: contiguous
        found[:3, block] = _interval(ordered, estimates[block], skews[block], kind, level, null)
        with np.errstate(invalid="ignore"):  # a ratio to 0 is infinite in some draws, and has no spread
            found[3, block] = ordered.std(1, ddof=1)
    low, high, p, error = found.reshape(4, *estimate.shape)
    return low, high, p, error


def _interval(
    ordered: NDArray, estimate: NDArray, skew: NDArray, kind: str, level: float, null: float
) -> tuple[NDArray, NDArray, NDArray]:
    """Low, high and the p-value of each value, from its sorted resamples (values × resamples)."""
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if kind == "basic":
        low, high = (2 * estimate - _quantile(ordered, np.full(len(estimate), tail)) for tail in tails[::-1])
        return low, high, _two_sided(_share_below(ordered, 2 * estimate - null), ordered.shape[1])
    bias = ndtri(_share_below(ordered, estimate)) if kind == "bca" else np.zeros_like(estimate)
    skew = skew if kind == "bca" else np.zeros_like(estimate)
    shifted = bias + ndtri(tails)[:, None]
    low, high = (_quantile(ordered, share) for share in ndtr(bias + shifted / (1 - skew * shifted)))
    at_null = ndtri(_share_below(ordered, np.full_like(estimate, null))) - bias
    return low, high, _two_sided(ndtr(at_null / (1 + skew * at_null) - bias), ordered.shape[1])


def _share_below(ordered: NDArray, value: NDArray) -> NDArray:
    """The share of resampled values below a value; ties and resamples without a value (NaN) count half.

    Never quite 0 or 1, whose normal scores are infinite.
    """
    count = ordered.shape[1]
    value = value[:, None]
    below = (np.count_nonzero(ordered < value, axis=1) + np.count_nonzero(ordered <= value, axis=1)) / 2
    if np.isnan(ordered[:, -1]).any():  # they are sorted last
        below += np.count_nonzero(np.isnan(ordered), axis=1) / 2
    return (below + 0.5) / (count + 1)


def _quantile(ordered: NDArray, share: NDArray) -> NDArray:
    """A quantile of each row, at the row's own level, interpolated linearly."""
    place = np.nan_to_num(share) * (ordered.shape[1] - 1)
    below = np.floor(place).astype(int)
    above = np.minimum(below + 1, ordered.shape[1] - 1)
    rows = np.arange(len(ordered))
    return ordered[rows, below] + (place - below) * (ordered[rows, above] - ordered[rows, below])


def _acceleration(left_out: NDArray) -> NDArray:
    """Efron's a: the skew of the influence that examples have on the statistic."""
    influence = left_out.mean(0) - left_out
    spread = (influence**2).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num((influence**3).sum(0) / (6 * spread**1.5))


def _two_sided(share: NDArray, count: int) -> NDArray:
    return np.clip(2 * np.minimum(share, 1 - share), 1 / (count + 1), 1)


def _refuse(kind: str, n: int) -> None:
    if kind not in KINDS:
        raise ProbeError(
            f"interval {kind!r}", expected="one of " + ", ".join(KINDS), found=repr(kind), remedy=nearest(kind, KINDS)
        )
    if n < 2:
        raise ProbeError(
            "a bootstrap", expected="at least 2 examples", found=str(n), remedy="Use more examples (n=256)."
        )
