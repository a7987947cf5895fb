"""The bootstrap against scipy's, its weights against what drawing is, and its speed."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analyses import statistics
from probe.errors import ProbeError

VALUES = np.random.default_rng(0).gamma(2, 1, 60)


def test_weights_are_draws():
    weights = statistics.resamples(7, 50, seed=1)
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(weights * 7, np.round(weights * 7))
    assert (statistics.resamples(7, 50, seed=1) == weights).all()
    assert (statistics.resamples(7, 50, seed=2) != weights).any()


@pytest.mark.parametrize(("kind", "theirs"), [("bca", "BCa"), ("percentile", "percentile"), ("basic", "basic")])
def test_intervals_are_scipys(kind, theirs):
    ours = statistics.mean(VALUES, kind=kind, count=20_000)
    scipys = stats.bootstrap((VALUES,), np.mean, method=theirs, n_resamples=20_000, rng=np.random.default_rng(0))
    spread = VALUES.std() / np.sqrt(len(VALUES))
    assert ours.estimate == pytest.approx(VALUES.mean())
    assert ours.low == pytest.approx(scipys.confidence_interval.low, abs=0.05 * spread)
    assert ours.high == pytest.approx(scipys.confidence_interval.high, abs=0.05 * spread)
    assert ours.error == pytest.approx(scipys.standard_error, rel=0.03)


@pytest.mark.parametrize("kind", statistics.KINDS)
def test_p_and_interval_say_the_same(kind):
    """At the interval's own end, p is the interval's level."""
    found = statistics.mean(VALUES, kind=kind)
    at_end = statistics.mean(VALUES - found.low, kind=kind)
    assert at_end.p == pytest.approx(0.05, abs=0.003)


def test_a_ratio_is_of_means_and_paired():
    whole = VALUES + 1
    found = statistics.ratio(0.3 * whole, whole)
    assert found.estimate == pytest.approx(0.3)
    assert found.high - found.low == pytest.approx(0, abs=1e-9)


def test_each_cell_of_a_table_is_its_own_mean():
    table = np.random.default_rng(1).normal(size=(40, 3, 5))
    found = statistics.mean(table)
    assert found.estimate.shape == (3, 5)
    alone = statistics.mean(table[:, 2, 4])
    for name in ("estimate", "low", "high", "p"):
        assert getattr(found, name)[2, 4] == pytest.approx(getattr(alone, name))
    frame = found.frame(layer=range(3), head=range(5), p=True)
    assert frame.query("layer == 2 and head == 4")["low"].item() == pytest.approx(alone.low)


def test_ten_thousand_resamples_of_a_table_cost_little_more_than_drawing_multiplying_and_sorting_them():
    """The floor is what no bootstrap can do without, measured beside it: 1.3 to 1.7 times that, on any machine."""
    values = np.random.default_rng(0).normal(size=(256, 32, 32))
    statistics.mean(values[:, :2])

    def floor() -> None:
        weights = np.random.default_rng(0).multinomial(256, np.full(256, 1 / 256), size=10_000) / 256
        np.sort(weights @ values.reshape(256, -1), axis=0)

    least, ours = (min(cpu_time(work) for _ in range(2)) for work in (floor, lambda: statistics.mean(values)))
    assert ours < 3 * least


def cpu_time(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.parametrize("kind", statistics.KINDS)
def test_nulls_are_rejected_in_five_percent(kind):
    """Two thousand data sets of which nothing is true, skewed ones, as the cells of one table."""
    values = np.random.default_rng(1).gamma(2, 0.5, (256, 2000)) - 1
    found = statistics.mean(values, kind=kind, count=2000)
    assert (found.p < 0.05).mean() == pytest.approx(0.05, abs=0.015)
    assert ((found.low <= 0) & (found.high >= 0)).mean() == pytest.approx(0.95, abs=0.015)


def test_seeds_are_drawn_before_examples():
    """Where seeds differ and examples do not, only the number of seeds can narrow the interval."""
    rows = np.repeat([0.0, 1.0, 2.0, 3.0], 50)
    groups = np.repeat(np.arange(4), 50)
    found = statistics.bootstrap_of(lambda w: w @ rows, len(rows), statistics.nested(groups), kind="percentile")
    assert found.error == pytest.approx(np.std([0, 1, 2, 3]) / 2, rel=0.05)
    assert statistics.mean(rows).error < found.error / 3


def test_crossed_seeds_share_their_examples():
    values = np.add.outer(np.zeros(3), VALUES)  # seeds × examples: seeds agree
    weights = statistics.crossed(3, len(VALUES))
    np.testing.assert_allclose(weights.sum((1, 2)), 1)
    found = statistics.bootstrap_of(lambda w: (w * values).sum((1, 2)), len(VALUES), weights)
    assert found.error == pytest.approx(statistics.mean(VALUES).error, rel=0.05)


@given(st.integers(2, 30), st.integers(0, 99))
def test_a_constant_has_no_interval(n, seed):
    found = statistics.mean(np.full(n, 3.0), count=50, seed=seed)
    assert found.low == pytest.approx(3)
    assert found.high == pytest.approx(3)


def test_mistakes_are_named():
    with pytest.raises(ProbeError, match="Did you mean 'bca'"):
        statistics.mean(VALUES, kind="bcaa")
    with pytest.raises(ProbeError, match="at least 2 examples"):
        statistics.mean(VALUES[:1])
