"""Overlaps against their definitions; comparison against circuits of which it is known how alike they are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from analyses.circuits.comparison.compare import (
    budgets,
    compare,
    mass,
    subsets,
)
from analyses.circuits.comparison.overlap import (
    Ranked,
    chance,
    jaccard,
    spearman,
    weighted_jaccard,
)
from analyses.circuits.comparison.resampling import halves
from analyses.circuits.graph import Graph
from analyses.result import Result
from probe.errors import ProbeError
from tests.analyses.circuits.synthetic import DIRECTED, SMALL, circuit_of, heavy, random_circuit

GRAPH = Graph(n_layers=5, n_heads=4, n_kv_heads=4)
QUICK = {"resamples": 80, "splits": 6}


def drawn(seed: int, edges: int = 40, zeros: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    a, b = generator.lognormal(size=(2, 3, edges))
    a[generator.random(a.shape) < zeros] = 0
    return a, b


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40))
def test_jaccard_is_that_of_sets(seed, k):
    a, b = drawn(seed)
    found = jaccard(Ranked(a), Ranked(b), [k])[:, 0]
    for row in range(3):
        sets = [set(sorted(np.flatnonzero(x[row]), key=lambda e, x=x[row]: -x[e])[:k]) for x in (a, b)]
        assert found[row] == pytest.approx(len(sets[0] & sets[1]) / len(sets[0] | sets[1]))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_rank_correlation_and_weighted_overlap_are_what_they_are_called(seed):
    a, b = drawn(seed)
    for row in range(3):
        assert spearman(Ranked(a), Ranked(b))[row] == pytest.approx(spearmanr(a[row], b[row]).statistic, abs=1e-5)
        one, other = (x[row] / x[row].sum() for x in (a, b))
        expected = np.minimum(one, other).sum() / np.maximum(one, other).sum()
        assert weighted_jaccard(Ranked(a), Ranked(b))[row] == pytest.approx(expected)


def test_chance_is_what_random_sets_share():
    generator = np.random.default_rng(0)
    a, b = generator.random((2, 4000, 200))
    for k in (10, 60):
        expected = chance(Ranked(a[:1]), Ranked(b[:1]), [k])[0, 0]
        assert expected == pytest.approx(k / (2 * 200 - k))
        assert jaccard(Ranked(a), Ranked(b), [k]).mean() == pytest.approx(expected, abs=0.004)


def test_what_never_scores_is_never_among_the_strongest():
    nothing = np.zeros((1, 10))
    assert np.isnan(jaccard(Ranked(nothing), Ranked(nothing), [5])).all()
    few = nothing.copy()
    few[0, :2] = 1
    assert jaccard(Ranked(few), Ranked(np.ones((1, 10)) + np.arange(10)), [5])[0, 0] == 0
    assert Ranked(few).sizes([1, 5]).tolist() == [[1, 2]]


@settings(deadline=None)
@given(st.integers(6, 30), st.integers(0, 99))
def test_halves_have_no_prompt_in_common(n, seed):
    drawn_anew = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), 3) / n
    for drawn in (np.full((3, n), 1 / n), drawn_anew):
        first, second = halves(n, 3, seed=seed, drawn=drawn)
        assert not ((first > 0) & (second > 0)).any()
        np.testing.assert_array_equal((first > 0) | (second > 0), drawn > 0)
        np.testing.assert_allclose([first.sum(1), second.sum(1)], 1)
        assert (abs((first > 0).sum(1) - (second > 0).sum(1)) <= 1).all()


def test_the_same_weights_twice_are_wholly_alike():
    one = random_circuit(GRAPH, noise=20)
    table = compare(one, one, **QUICK).table
    np.testing.assert_allclose(table["estimate"], 1, atol=1e-6)
    np.testing.assert_allclose(table["low"], 1, atol=1e-5)
    ceilings = table[(table["measure"] == "jaccard") & (table["subset"] == "all")]["ceiling"]
    assert ceilings.min() < 0.8  # although the model does not agree with itself on other prompts


def test_circuits_that_have_nothing_to_do_with_each_other_are_at_chance():
    table = compare(random_circuit(GRAPH, seed=1), random_circuit(GRAPH, seed=2), **QUICK).table
    of_all = table[table["subset"] == "all"].groupby("measure")["estimate"].mean()
    assert abs(of_all["retention"]) < 0.08
    assert abs(of_all["spearman"]) < 0.1


def test_retention_is_the_share_that_is_kept_whatever_the_noise():
    """Jaccard sinks with the noise of few prompts; retention, of which that is the point, does not."""
    generator = np.random.default_rng(3)
    truth, other = heavy(GRAPH, generator), heavy(GRAPH, generator)
    some = np.where(generator.random(GRAPH.shape) < 0.5, truth, other)
    found = {}
    for noise in (1, 40):
        first, same, half = (
            random_circuit(GRAPH, n=60, noise=noise, seed=seed, scores=scores)
            for seed, scores in enumerate((truth, truth, some))
        )
        table = compare(first, same, half, ks=[100], **QUICK).table
        table = (
            table[table["subset"] == "all"].assign(other=["same"] * 4 + ["half"] * 4).set_index(["other", "measure"])
        )
        found[noise] = table["estimate"]
        assert found[noise]["same", "retention"] == pytest.approx(1, abs=0.1)
    assert found[40]["same", "jaccard"] < found[1]["same", "jaccard"] - 0.2
    assert found[40]["half", "retention"] == pytest.approx(found[1]["half", "retention"], abs=0.1)
    assert 0.2 < found[1]["half", "retention"] < 0.6


def test_intervals_hold_their_estimate_and_cover():
    """Two seeds of one truth, fifteen times over: their overlap lies where an interval from one pair says it may."""
    truth = heavy(SMALL, np.random.default_rng(0))
    tables = []
    for seed in range(15):
        pair = (random_circuit(SMALL, n=40, noise=8, seed=100 * seed + turn, scores=truth) for turn in (1, 2))
        table = compare(*pair, ks=[30], resamples=60, splits=5).table
        tables.append(table[table["subset"] == "all"].set_index("measure"))
        assert (tables[-1]["low"] <= tables[-1]["estimate"]).all()
        assert (tables[-1]["estimate"] <= tables[-1]["high"]).all()
    for measure in ("jaccard", "retention", "spearman"):
        typical = np.mean([table.loc[measure, "estimate"] for table in tables])
        covers = [table.loc[measure, "low"] <= typical <= table.loc[measure, "high"] for table in tables]
        assert sum(covers) >= 10, measure


def test_kinds_of_edges_part_the_graph():
    kinds = subsets(DIRECTED)
    whole = DIRECTED.n_edges
    assert sum(of.sum() for name, of in kinds.items() if name.startswith("into")) == whole
    assert sum(of.sum() for name, of in kinds.items() if name.startswith("from")) == whole
    assert kinds["causal"].sum() + kinds["right to left"].sum() == whole
    assert "causal" not in subsets(SMALL)


def test_what_an_ar_model_has_not_is_told_apart():
    truth = heavy(DIRECTED, np.random.default_rng(0))
    to_the_left = ~np.array([one.from_right for one in DIRECTED.target_values])
    ar, diffusion = (
        circuit_of(DIRECTED, edges + np.random.default_rng(1).standard_normal((20, *DIRECTED.shape)) * (edges != 0))
        for edges in (truth * to_the_left, truth)
    )
    table = compare(ar, diffusion, ks=[60], **QUICK).table.set_index(["subset", "measure"])["estimate"]
    assert table["causal", "jaccard"] > 0.8
    assert table["all", "jaccard"] < table["causal", "jaccard"]
    assert table["right to left", "jaccard"] == 0
    share = mass(ar, diffusion, resamples=50).table.set_index("subset").loc["right to left", "estimate"]
    assert share.iloc[0] == 0
    assert share.iloc[1] > 0.05


def test_without_prompts_there_is_no_interval_and_no_ceiling():
    one, other = (dataclasses.replace(random_circuit(seed=seed), by_example=None) for seed in (1, 2))
    table = compare(one, other).table
    assert table["low"].isna().all()
    assert table["ceiling"].isna().all()
    assert "retention" not in set(table["measure"])
    assert table["estimate"].notna().any()


def test_circuits_of_two_graphs_or_of_other_prompts_are_refused():
    with pytest.raises(ProbeError, match="one graph"):
        compare(random_circuit(SMALL), random_circuit(GRAPH))
    with pytest.raises(ProbeError, match="same prompts"):
        compare(random_circuit(n=20), random_circuit(n=30))


def test_budgets_fit_the_graph():
    assert budgets(32_491) == [100, 200, 500, 1000, 2000, 5000]
    assert budgets(5000) == [100, 200, 500, 1000, 2000]
    assert budgets(480) == [5, 10, 24, 48, 96]


def test_a_comparison_is_kept_on_disk(tmp_path):
    result = compare(random_circuit(seed=1), random_circuit(seed=2), **QUICK)
    again = Result.open(result.save(tmp_path))
    assert again.table.equals(result.table)
    assert again.about["method"] == "eap-ig"
