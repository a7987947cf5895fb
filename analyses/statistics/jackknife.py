"""The jackknife: how far a statistic moves when one example is left out, and from that its standard error.

For smooth statistics of means that is all one needs, and n evaluations do for what a bootstrap takes thousands; above
all it adds no noise of its own, which statistics of magnitudes turn into strength (see `magnitudes`). Its error is on
the safe side: too wide rather than too narrow (Efron and Stein), most where nearly everything is noise.

`combination` adds up estimates from different examples (tasks, say): their errors are independent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from analyses.statistics.estimate import Estimate, Statistic
from analyses.statistics.weights import uniform, without_each
from probe.errors import ProbeError


def jackknife(statistic: Statistic, n: int, *, level: float = 0.95, null: float = 0.0) -> Estimate:
    """A statistic of n examples with Student's interval about it."""
    if n < 2:
        raise ProbeError("a jackknife", expected="at least 2 examples", found=str(n), remedy="Ask for more (n=256).")
    estimate = np.asarray(statistic(uniform(n)))[0]
    left_out = np.asarray(statistic(without_each(n)))
    error = np.sqrt((n - 1) / n * ((left_out - left_out.mean(0)) ** 2).sum(0))
    return _estimate(estimate, error, n, n - 1, level, null)


def combination(
    estimates: Sequence[Estimate], coefficients: ArrayLike, *, level: float = 0.95, null: float = 0.0
) -> Estimate:
    """Σ coefficient · estimate, of estimates that share no examples."""
    factors = np.asarray(coefficients, dtype=np.float64)
    total = sum(factor * one.estimate for factor, one in zip(factors, estimates, strict=True))
    squares = np.array([(factor * one.error) ** 2 for factor, one in zip(factors, estimates, strict=True)])
    freedom = np.array([one.n - 1 for one in estimates]).reshape(-1, *[1] * (squares.ndim - 1))
    with np.errstate(invalid="ignore", divide="ignore"):  # Welch and Satterthwaite's degrees of freedom
        shared = np.nan_to_num(squares.sum(0) ** 2 / (squares**2 / freedom).sum(0), nan=1.0)
    error = np.sqrt(squares.sum(0))
    return _estimate(np.asarray(total), error, min(one.n for one in estimates), np.maximum(shared, 1), level, null)


def _estimate(estimate: NDArray, error: NDArray, n: int, freedom: ArrayLike, level: float, null: float) -> Estimate:
    reach = stdtrit(freedom, (1 + level) / 2) * error
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.abs(estimate - null) / error
    p = np.where(error > 0, 2 * stdtr(freedom, -np.nan_to_num(t)), np.where(estimate == null, 1.0, 0.0))
    return Estimate(estimate, estimate - reach, estimate + reach, n, p, error, kind="jackknife", level=level)
