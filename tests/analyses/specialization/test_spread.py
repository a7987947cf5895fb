"""How spread out attribution is: closed forms, planted circuits; and neurons whose selectivity is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from analyses import circuits, specialization
from analyses.components.scores import measured, scores_of
from analyses.specialization import neurons
from analyses.specialization.spread import entropy, fewest, figure_of, gini, largest, participation, participation_ratio
from analyses.statistics import uniform
from probe.errors import ProbeError
from tests.analyses.components.made_scores import HEADS, LAYERS, in_layer, scores_with
from tests.analyses.planted import permuted_heads, relay

ALL = LAYERS * HEADS
mass = arrays(float, 12, elements=st.floats(0.01, 1))


def test_one_that_does_everything():
    a = np.zeros(10)
    a[3] = 2.0
    assert participation(a.sum(), (a**2).sum()) == 1
    assert (entropy(a), gini(a), largest(a)) == pytest.approx((0, 0.9, 1))
    assert (fewest(a, 0.5), fewest(a, 0.9)) == pytest.approx((0.5, 0.9))


def test_all_that_do_the_same():
    a = np.full(10, 0.3)
    assert participation(a.sum(), (a**2).sum()) == pytest.approx(10)
    assert (entropy(a), gini(a), largest(a)) == pytest.approx((1, 0, 0.1))
    assert (fewest(a, 0.5), fewest(a, 0.9)) == pytest.approx((5, 9))


@given(mass)
def test_figures_against_their_definitions(a):
    pi = a / a.sum()
    assert participation(a.sum(), (a**2).sum()) == pytest.approx(1 / (pi**2).sum())
    assert entropy(a) == pytest.approx(stats.entropy(pi) / np.log(12))
    assert gini(a) == pytest.approx(np.abs(a[:, None] - a).sum() / (2 * 12 * a.sum()))
    whole = np.searchsorted(np.cumsum(np.sort(pi)[::-1]), 0.9)
    assert whole <= fewest(a, 0.9) <= whole + 1


@given(mass, st.permutations(range(12)), st.floats(0.1, 10))
def test_order_and_scale_do_not_matter(a, order, scale):
    for figure in (entropy, gini, largest):
        assert figure(scale * a[list(order)]) == pytest.approx(figure(a))


def test_spread_within_layers_is_not_confounded_with_depth():
    """Two models alike within their layers, one of which uses two layers more: only globally do they differ."""
    few, many = (scores_with(in_layer(*layers)) for layers in ((0,), (0, 1, 2)))
    globally, within = figure_of("PR"), figure_of("PR", "within layers")
    assert measured(globally, few).estimate == pytest.approx(HEADS)
    assert measured(globally, many).estimate == pytest.approx(3 * HEADS)
    assert measured(within, few).estimate == pytest.approx(measured(within, many).estimate) == pytest.approx(HEADS)


def test_noise_is_not_distribution():
    """One head does everything, and all others are noise: the plain figure says that dozens share the work."""
    means = np.zeros((LAYERS, HEADS))
    means[2, 1] = 1.0
    noisy = scores_with(means, noise=1.0)
    plain = np.abs(noisy.values.mean(0))
    assert participation(plain.sum(), (plain**2).sum()) > 5
    assert measured(participation_ratio, noisy).estimate < 2.5


def test_nothing_but_noise_stands_within_its_null():
    table = specialization.spread(scores_with(np.zeros((LAYERS, HEADS)), noise=1.0), parts=("all",)).table
    row = table[(table["figure"] == "Gini") & (table["level"] == "global")].iloc[0]
    assert row["null_low"] <= row["estimate"] <= row["null_high"]


def test_a_change_of_spread_is_found():
    one, two = np.ones((LAYERS, HEADS)), np.linspace(0, 2, ALL).reshape(LAYERS, HEADS) ** 3
    table = specialization.spread(
        scores_with(two, noise=0.3), scores_with(one, noise=0.3, seed=1, model="diffusion"), parts=("all",)
    ).table
    change = table[(table["figure"] == "Δ PR") & (table["level"] == "global")].iloc[0]
    assert change["low"] > 0
    assert change["q"] < 0.05


def test_planted_concentrated_below_spread_at_either_depth():
    found = {}
    for first in (0, 4):
        for heads in ((0,), (0, 1, 2, 3)):
            planted = relay(first=first, heads=heads, noise=0.02)
            circuit = circuits.attribute(planted.model, planted.batch, reading="ar")
            found[first, len(heads)] = circuit, participation_ratio(scores_of(circuit))(uniform(circuit.n))[0]
            if heads == (0, 1, 2, 3) and first == 0:
                other = circuits.attribute(permuted_heads(planted.model, seed=1), planted.batch, reading="ar")
                again = participation_ratio(scores_of(other))(uniform(other.n))[0]
                assert again == pytest.approx(found[first, 4][1], abs=1e-3)
    for first in (0, 4):
        assert found[first, 1][1] < 4 < 5 < found[first, 4][1]


# Neurons

LABELS = np.repeat([7, 8, 9], 20)


def test_auroc_is_mann_and_whitneys():
    values = np.random.default_rng(0).normal(size=(60, 4)).round(1)  # with ties
    ours = neurons.auroc(values, neurons.one_hot(LABELS))
    for case, label in enumerate((7, 8, 9)):
        u = stats.mannwhitneyu(values[label == LABELS], values[label != LABELS]).statistic
        np.testing.assert_allclose(ours[case], u / (20 * 40))


def test_selective_and_deaf_neurons():
    values = np.random.default_rng(0).normal(size=(60, 200))
    values[:, 0] = LABELS == 8
    values[:, 1] = -1.0 * (LABELS == 9)
    found = neurons.selective(values, neurons.one_hot(LABELS))
    assert found[:2] == pytest.approx(1)
    assert found[2:].mean() < 0.3


def test_selectivity_of_noise_is_its_null():
    values = np.random.default_rng(0).normal(size=(60, 300))
    mean, share = neurons._layer_rows(values, neurons.one_hot(LABELS), seed=0)
    assert mean["null_low"] <= mean["estimate"] <= mean["null_high"]
    assert share["estimate"] < 0.02
    values[:, :100] += 3 * (LABELS == 8)[:, None]
    mean, share = neurons._layer_rows(values, neurons.one_hot(LABELS), seed=0)
    assert mean["low"] > mean["null_high"]
    assert share["estimate"] == pytest.approx(1 / 3, abs=0.03)
    assert share["low"] <= 1 / 3 <= share["high"]
    assert share["high"] - share["low"] < 0.3


def test_overlap_of_the_same_and_of_other_neurons():
    generator = np.random.default_rng(0)
    cases = neurons.one_hot(LABELS)
    same, other = generator.normal(size=(2, 60, 400))
    same[:, :20] += 5 * (LABELS == 8)[:, None]
    other[:, 200:220] += 5 * (LABELS == 9)[:, None]
    assert neurons._overlap([same, cases], [same, cases])["estimate"] == 1
    apart = neurons._overlap([same, cases], [other, cases])
    assert apart["estimate"] == pytest.approx(0, abs=0.03)
    assert apart["null"] == pytest.approx(20 / 780)


def test_labels_without_cases_are_refused():
    with pytest.raises(ProbeError, match="labels for selectivity"):
        neurons.one_hot(np.zeros(30))
