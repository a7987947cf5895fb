"""Tests, corrections and effect sizes, each against scipy or a count by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from analyses import statistics
from probe.errors import ProbeError

A, B = np.random.default_rng(0).normal(size=(2, 30))


def test_sign_flip_is_the_exact_test():
    values = np.array([0.3, 1.2, -0.4, 2.0, 0.7, 0.9])
    sums = [abs(np.dot(signs, values)) for signs in product((-1, 1), repeat=6)]
    exact = np.mean(np.array(sums) >= values.sum() - 1e-12)
    assert statistics.sign_flip(values, count=40_000) == pytest.approx(exact, abs=0.01)


def test_sign_flip_is_scipys_over_a_table():
    values = np.stack([A, B + 0.5], axis=1)
    ours = statistics.sign_flip(values, count=20_000)
    theirs = stats.permutation_test(
        (values,), lambda x, axis: x.mean(axis), permutation_type="samples", vectorized=True, n_resamples=20_000,
        rng=np.random.default_rng(1),
    )  # fmt: skip
    np.testing.assert_allclose(ours, theirs.pvalue, atol=0.015)
    assert ours[1] < 0.05 < ours[0] or ours[0] != ours[1]


def test_permutation_of_another_design():
    p = statistics.permutation((A, B + 2), lambda x, y, axis: x.mean(axis) - y.mean(axis), vectorized=True, count=2000)
    assert p < 0.01


def test_adjusted_is_benjamini_hochberg():
    p = np.array([[0.01, 0.02], [0.03, np.nan], [0.5, 0.9]])
    q = statistics.adjusted(p)
    assert np.isnan(q[1, 1])
    ranked = [0.01, 0.02, 0.03, 0.5, 0.9]
    by_hand = [min(ranked[j] * 5 / (j + 1) for j in range(i, 5)) for i in range(5)]
    np.testing.assert_allclose(np.sort(q[~np.isnan(q)]), np.sort(by_hand))


def test_effect_sizes():
    assert statistics.paired_d(A, A + np.where(np.arange(30) % 2, 1, 3)) == pytest.approx(
        2 / np.std([1, 3] * 15, ddof=1)
    )
    assert statistics.cliffs_delta(A, A + 100) == 1
    assert statistics.cliffs_delta(A, B) == pytest.approx(np.sign(B[None] - A[:, None]).mean())
    pooled = np.sqrt((A.var(ddof=1) + B.var(ddof=1)) / 2)
    assert statistics.hedges_g(A, B) == pytest.approx((B.mean() - A.mean()) / pooled * (1 - 3 / (4 * 58 - 1)))


def test_equivalence_needs_narrow_and_small():
    narrow, wide = np.random.default_rng(0).normal(0, (0.1, 5), (60, 2)).T
    assert statistics.equivalence(narrow, 0.2).holds()
    assert not statistics.equivalence(wide, 0.2).holds()  # not rejected as different, not shown the same either
    assert not statistics.equivalence(narrow + 0.5, 0.2).holds()
    assert statistics.equivalence(statistics.mean(narrow), 0.2).p == pytest.approx(
        statistics.equivalence(narrow, 0.2).p, abs=1e-6
    )
    with pytest.raises(ProbeError, match="margin"):
        statistics.equivalence(narrow, 0)
