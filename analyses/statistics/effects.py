"""The size of a difference, and whether it is small enough to count as none.

A test that does not reject does not show that nothing changed: with few examples it never rejects. To show that
something is kept, two one-sided tests check whether the difference is within a margin fixed beforehand (`equivalence`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analyses.statistics.estimate import Estimate
from probe.errors import ProbeError


def paired_d(a: ArrayLike, b: ArrayLike) -> NDArray:
    """Cohen's d of paired values (n × …): the mean of b - a in units of its own spread."""
    difference = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return difference.mean(0) / difference.std(0, ddof=1)


def hedges_g(a: ArrayLike, b: ArrayLike) -> NDArray:
    """Hedges' g of two independent samples: the difference of means in units of the pooled spread, corrected for small
    n."""
    a, b = (np.asarray(values, dtype=np.float64) for values in (a, b))
    freedom = len(a) + len(b) - 2
    pooled = np.sqrt(((len(a) - 1) * a.var(0, ddof=1) + (len(b) - 1) * b.var(0, ddof=1)) / freedom)
    return (b.mean(0) - a.mean(0)) / pooled * (1 - 3 / (4 * freedom - 1))


def cliffs_delta(a: ArrayLike, b: ArrayLike) -> NDArray:
    """P(b > a) - P(b < a) for one random draw of each, from the Mann-Whitney U: -1 to 1, 0 for no difference."""
    from scipy.stats import mannwhitneyu

    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return 2 * np.asarray(mannwhitneyu(b, a, axis=0).statistic) / (len(a) * len(b)) - 1


@dataclass(frozen=True, eq=False)
class Equivalence:
    """The outcome of two one-sided tests: p is the larger of the two; if it is small, the values are equivalent."""

    margin: float
    p: NDArray

    def holds(self, level: float = 0.05) -> NDArray:
        return self.p < level


def equivalence(found: ArrayLike | Estimate, margin: float) -> Equivalence:
    """Whether a mean difference (n × …; t tests) or an Estimate (its own error) is within ± margin."""
    if margin <= 0:
        raise ProbeError(
            "margin",
            expected="the largest difference, above 0, that would not matter",
            found=str(margin),
            remedy="Name one.",
        )
    if isinstance(found, Estimate):
        from scipy.stats import t

        outside = (np.abs(found.estimate) - margin) / np.maximum(found.error, 1e-300)
        return Equivalence(margin, np.asarray(t.cdf(outside, found.n - 1)))
    from scipy.stats import ttest_1samp

    differences = np.asarray(found, dtype=np.float64)
    above = ttest_1samp(differences, -margin, axis=0, alternative="greater").pvalue  # type: ignore[attr-defined]  # scipy's stubs
    below = ttest_1samp(differences, margin, axis=0, alternative="less").pvalue  # type: ignore[attr-defined]  # scipy's stubs
    return Equivalence(margin, np.maximum(above, below))
