"""Magnitudes without noise, against splitting in halves; and intervals of what is made of them."""

from __future__ import annotations

import numpy as np
import pytest

from analyses import statistics
from analyses.statistics import magnitudes, recentred, squares, uniform, without_noise

GENERATOR = np.random.default_rng(0)


def test_what_is_nothing_measures_nothing():
    """The plain |mean| of noise is 0.8 standard errors; ours averages to 0, and so do squares."""
    noise = GENERATOR.normal(size=(64, 20_000))
    error = 1 / np.sqrt(64)
    assert np.abs(noise.mean(0)).mean() == pytest.approx(np.sqrt(2 / np.pi) * error, rel=0.02)
    assert magnitudes(uniform(64), noise)[0].mean() == pytest.approx(0, abs=0.02 * error)
    assert squares(uniform(64), noise)[0].mean() == pytest.approx(0, abs=0.03 * error**2)


def test_what_is_strong_measures_its_size_whatever_its_sign():
    values = GENERATOR.normal(size=(64, 50)) + np.where(np.arange(50) % 2, 5, -5)
    np.testing.assert_allclose(magnitudes(uniform(64), values)[0], np.abs(values.mean(0)))


def test_it_is_the_mean_over_halvings():
    values = GENERATOR.normal(size=(200, 5)) + 0.08
    halves = [GENERATOR.permutation(200) for _ in range(20_000)]
    first = np.array([values[rows[:100]].mean(0) for rows in halves])
    second = 2 * values.mean(0) - first
    crossed = (first * np.sign(second)).mean(0)
    np.testing.assert_allclose(magnitudes(uniform(200), values)[0], crossed, atol=2e-3)


def test_examples_that_agree_leave_no_noise():
    values = np.repeat([[1.0, -2.0, 0.0]], 5, axis=0)
    np.testing.assert_allclose(magnitudes(uniform(5), values)[0], [1, 2, 0], atol=1e-12)
    np.testing.assert_allclose(without_noise(values), [1, -2, 0], atol=1e-12)


def test_same_scores_do_not_differ():
    values = GENERATOR.normal(size=(30, 4)) + 1
    found = recentred(lambda a, b: lambda w: magnitudes(w, b).sum(-1) - magnitudes(w, a).sum(-1), values, values)
    assert (found.estimate, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_where_scores_are_clear_it_is_the_bootstrap():
    values = GENERATOR.normal(size=(100, 6)) + 4
    found = recentred(lambda a: lambda w: magnitudes(w, a).sum(-1), values)
    plain = statistics.mean(values.sum(1), kind="percentile")
    assert found.estimate == pytest.approx(plain.estimate)
    assert found.error == pytest.approx(plain.error, rel=0.06)


def test_estimates_of_other_examples_add_up():
    a, b = GENERATOR.normal(0, 1, 400), GENERATOR.normal(1, 2, 300)
    found = statistics.combination([statistics.mean(b), statistics.mean(a)], (1, -1))
    from scipy import stats

    welch = stats.ttest_ind(b, a, equal_var=False)
    interval = welch.confidence_interval(0.95)
    assert found.estimate == pytest.approx(b.mean() - a.mean())
    assert found.low == pytest.approx(interval.low, abs=0.03)
    assert found.high == pytest.approx(interval.high, abs=0.03)
    assert found.p == pytest.approx(welch.pvalue, abs=1e-3)
