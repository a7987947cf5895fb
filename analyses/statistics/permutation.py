"""Permutation tests, and the correction for many of them: how large would a difference be if labels meant nothing?

Two models that answered the same examples are exchangeable, example by example, if nothing changed between them; so the
signs of their differences may be flipped (`sign_flip`: one matrix product for a whole table). Other designs and
statistics go through scipy's permutation test (`permutation`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analyses.statistics.finite import refuse_not_finite
from analyses.statistics.weights import RESAMPLES

_AT_ONCE = 2_500


def sign_flip(differences: ArrayLike, *, count: int = RESAMPLES, seed: int = 0) -> NDArray:
    """The two-sided p of each mean of differences (n × …) if their signs were arbitrary; the observed signs count as
    one draw."""
    values = np.asarray(differences, dtype=np.float64)
    flat = values.reshape(len(values), -1)
    seen = np.abs(flat.sum(0)) * (1 - 1e-12)  # ties count as extreme, whatever the order of summation
    generator = np.random.default_rng(seed)
    as_extreme = np.zeros(flat.shape[1])
    for start in range(0, count, _AT_ONCE):
        signs = generator.integers(0, 2, (min(_AT_ONCE, count - start), len(flat))) * 2.0 - 1
        as_extreme += (np.abs(signs @ flat) >= seen).sum(0)
    p = np.where(np.isfinite(seen), (as_extreme + 1) / (count + 1), np.nan)
    return p.reshape(values.shape[1:])


def permutation(
    samples: tuple[ArrayLike, ...],
    statistic: Callable[..., Any],
    *,
    kind: Literal["independent", "samples", "pairings"] = "independent",
    count: int = RESAMPLES,
    seed: int = 0,
    vectorized: bool | None = None,
) -> float:
    """The two-sided p of a statistic under permutation of observations (scipy.stats.permutation_test)."""
    from scipy.stats import permutation_test

    for number, sample in enumerate(samples):
        refuse_not_finite(
            f"sample {number} of a permutation test", sample, {"observation": range(len(np.asarray(sample)))}
        )
    generator = np.random.default_rng(seed)
    how: dict[str, Any] = {"permutation_type": kind, "n_resamples": count, "vectorized": vectorized, "rng": generator}
    return float(permutation_test(samples, statistic, **how).pvalue)


def adjusted(p: ArrayLike) -> NDArray:
    """Benjamini-Hochberg over all given p-values, in their shape; where p is NaN, so is q.

    >>> adjusted([0.01, 0.02, 0.6]).round(2).tolist()
    [0.03, 0.03, 0.6]
    """
    from scipy.stats import false_discovery_control

    p = np.asarray(p, dtype=np.float64)
    q = np.full_like(p, np.nan)
    known = ~np.isnan(p)
    if known.any():
        q[known] = false_discovery_control(p[known])
    return q
