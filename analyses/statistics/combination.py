"""Sums of estimates from different examples (different tasks, say), whose errors are independent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from analyses.statistics.estimate import Estimate


def combination(
    estimates: Sequence[Estimate], coefficients: ArrayLike, *, level: float = 0.95, null: float = 0.0
) -> Estimate:
    """Σ coefficient · estimate, of estimates that share no examples, with Welch's interval."""
    factors = np.asarray(coefficients, dtype=np.float64)
    total = np.asarray(sum(factor * one.estimate for factor, one in zip(factors, estimates, strict=True)))
    squares = np.array([(factor * one.error) ** 2 for factor, one in zip(factors, estimates, strict=True)])
    each = np.array([one.n - 1 for one in estimates]).reshape(-1, *[1] * (squares.ndim - 1))
    error = np.sqrt(squares.sum(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = np.maximum(np.nan_to_num(squares.sum(0) ** 2 / (squares**2 / each).sum(0), nan=1.0), 1)
        t = np.nan_to_num(np.abs(total - null) / error)
    p = np.where(error > 0, 2 * stdtr(freedom, -t), np.where(total == null, 1.0, 0.0))
    p = np.where(np.isfinite(total) & np.isfinite(error), p, np.nan)
    reach = stdtrit(freedom, (1 + level) / 2) * error
    n = min(one.n for one in estimates)
    return Estimate(total, total - reach, total + reach, n, p, error, kind="combination", level=level)
