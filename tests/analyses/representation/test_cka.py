"""Linear CKA: 1 where nothing but the basis differs, 0 where nothing is shared, and its formula term by term."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ortho_group

import probe
from analyses import representation
from analyses.representation.cka import _told, gram, hsic, hsic_of_all, minibatches, ratio, similarity
from analyses.representation.states import Beside

RNG = np.random.default_rng


def kernels(n: int, *, seed: int = 0, d: int = 5):
    a, b = (RNG(seed + turn).normal(size=(n, 1, d)) for turn in range(2))
    return gram(a)[0], gram(b)[0]


def by_hand(k, m, w):
    """Over all sets of distinct examples, each weighed by the product of its weights."""

    def mean(size, value):
        total = weight = 0.0
        for drawn in itertools.permutations(range(len(w)), size):
            of = np.prod(w[list(drawn)])
            total, weight = total + of * value(*drawn), weight + of
        return total / weight

    return (
        mean(2, lambda i, j: k[i, j] * m[i, j])
        - 2 * mean(3, lambda i, j, x: k[i, j] * m[i, x])
        + mean(4, lambda i, j, x, y: k[i, j] * m[x, y])
    )


def test_the_weighted_form_is_the_sum_over_distinct_examples():
    k, m = kernels(7)
    for weights in (np.full(7, 1 / 7), np.array([2, 0, 1, 1, 3, 0, 0]) / 7, np.array([1, 1, 1, 1, 1, 1, 0]) / 6):
        w = weights[None]
        assert hsic(k, w @ k, m, w @ m, w)[0] == pytest.approx(by_hand(k, m, weights), abs=1e-12)


def test_the_plain_form_is_the_weighted_one_at_equal_weights():
    a, b = (gram(RNG(turn).normal(size=(20, 3, 6))) for turn in range(2))
    w = np.full((1, 20), 1 / 20)
    weighted = [[hsic(k, w @ k, m, w @ m, w)[0] for m in b] for k in a]
    assert hsic_of_all(a, b) == pytest.approx(np.array(weighted))


def states(n: int = 120, layers: int = 2, d: int = 8, seed: int = 0):
    return RNG(seed).normal(size=(n, layers, d)) @ np.diag(np.linspace(1, 3, d))


def beside(a, b):
    return Beside(a, b, np.arange(len(a)), np.full(len(a), "clean", dtype=object))


def compared(both, count=1):
    return similarity([both[rows] for rows in minibatches(both.example, count, 0)], 200, 0)


def cells(a, b, **how):
    return compared(beside(a, b), how.get("minibatches", 1)).set_index(["beside_layer", "layer"])


def test_a_model_is_like_itself_and_like_itself_turned_and_scaled():
    a = states()
    turned = a @ ortho_group.rvs(8, random_state=1) * 7.0 + 3.0
    for other in (a, turned):
        found = cells(a, other)
        assert found.loc[(0, 0), "estimate"] == pytest.approx(1)
        assert found.loc[(1, 1), "low"] > 0.999
        assert abs(found.loc[(0, 1), "estimate"]) < 0.1  # layers drawn apart
    assert cells(a, a @ np.diag([20, 1, 1, 1, 1, 1, 1, 1])).loc[(0, 0), "estimate"] < 0.8  # not just any linear map


def test_what_is_unrelated_is_near_0_even_with_more_dimensions_than_tokens():
    """Where the usual estimate says 0.7 and more; and the null says how near."""
    inside = 0
    for seed in range(40):
        a, b = RNG(seed).normal(size=(2, 40, 1, 200))
        found = cells(a, b).loc[(0, 0)]
        assert abs(found["estimate"]) < 0.2
        inside += found["null_low"] <= found["estimate"] <= found["null_high"]
        centred = [x[:, 0] - x[:, 0].mean(0) for x in (a, b)]
        across, *own = (np.linalg.norm(x.T @ y) ** 2 for x, y in (centred, centred[:1] * 2, centred[1:] * 2))
        assert across / np.sqrt(own[0] * own[1]) > 0.7
    assert inside >= 34  # of 40 at 95%; 33 or fewer would happen once in ten thousand


def test_half_shared_lies_between_and_its_interval_holds_it():
    """Two models that share some dimensions: CKA is known from their covariances."""
    d, shared = 10, 4
    inside = 0
    for seed in range(40):
        generator = RNG(seed)
        common, one, two = (generator.normal(size=(80, 1, size)) for size in (shared, d - shared, d - shared))
        a, b = np.concatenate([common, one], 2), np.concatenate([common, two], 2)
        row = compared(beside(a, b)).iloc[0]
        inside += row["low"] <= shared / d <= row["high"]
    assert inside >= 34  # of 40 intervals at 95%; 33 or fewer would happen once in ten thousand


def test_only_one_token_of_an_example_is_in_a_minibatch():
    a = np.repeat(states(n=30), 4, axis=0)  # four copies of each token would look like shared structure
    unrelated = np.repeat(states(n=30, seed=9), 4, axis=0)
    both = Beside(a, unrelated, np.repeat(np.arange(30), 4), np.full(120, "clean", dtype=object))
    row = compared(both, 2).iloc[0]
    assert row["n"] == 30
    assert row["low"] < 0 < row["high"]


def test_resamples_are_of_examples():
    a, b = gram(states(n=25)), gram(states(n=25, seed=3))
    uniform = ratio([(a, b)], np.full((1, 25), 1 / 25))
    assert ratio([(a, b)], np.vstack([np.full(25, 1 / 25), RNG(0).dirichlet(np.ones(25))]))[0] == pytest.approx(
        uniform[0]
    )


def test_where_one_example_outweighs_all_others_there_is_no_interval():
    """Without it a layer's likeness to itself is below 0 by chance, and CKA undefined: half an interval is none."""
    a, b = (states(n=16, d=2, layers=1, seed=seed) for seed in (0, 1))
    a[0] *= 1e4
    b[0] *= 1e4
    table = similarity([beside(a, b)], 200, 0)
    assert table["estimate"].notna().all()
    assert table["low"].isna().all()
    assert table["high"].isna().all()


def test_a_caption_says_how_many_cells_have_no_interval():
    assert _told(0, 9) == ""
    assert "3 of 9 cells have no interval" in _told(3, 9)


@pytest.fixture(scope="module")
def pair():
    return probe.load_pair("zoo:masked-noshift")


def test_masked_clean_and_what_stands_before_a_mask_are_apart(pair):
    batch = probe.task("ioi").examples(pair, 24, seed=0)
    traces = representation.traces_of(pair, batch, "prefix")
    result = representation.cka(pair, batch, traces=traces, resamples=100)
    groups = result.table.groupby("role")["tokens"].unique()
    assert set(groups["diffusion"]) == {"clean", "masked", "before a mask"}  # it does not shift, the AR model does
    assert set(groups["ar-cpt"]) == {"clean", "masked"}
    assert result.figure().data
    assert "zoo:masked-noshift and zoo:ar, masked" in set(result.table["panel"])  # models by their names
    own = representation.cka(pair, batch, traces={"ar": traces["ar"], "twice": traces["ar"]}, resamples=50).table
    diagonal = own[own["layer"] == own["beside_layer"]]
    assert diagonal["estimate"].tolist() == pytest.approx([1] * len(diagonal))


def test_only_the_tokens_that_are_compared_are_recorded(pair, monkeypatch):
    """And what comes out is what comes of a recording of them all."""
    batch = probe.task("ioi").examples(pair, 12, seed=0)
    sizes: list[int] = []

    def counted(*given, **how):
        trace = probe.record(*given, **how)
        sizes.append(trace["resid_post"].nbytes)
        return trace

    monkeypatch.setattr(representation.states, "record", counted)
    traces = representation.traces_of(pair, batch, "prefix")
    whole = max(sizes)
    for measure in (partial(representation.cka, resamples=20), representation.cosine, representation.outliers):
        everywhere = measure(pair, batch, traces=traces).table
        sizes.clear()
        chosen = measure(pair, batch).table
        pd.testing.assert_frame_equal(chosen, everywhere, rtol=1e-4, atol=1e-5)
        if measure is not representation.outliers:  # which reads every slot, some texts at a time
            assert max(sizes) < 0.7 * whole


def test_all_states_are_read_some_texts_at_a_time(pair, monkeypatch):
    batch = probe.task("ioi").examples(pair, 12, seed=0)
    at_once = representation.outliers(pair, batch, times=2.0).table
    monkeypatch.setattr(representation.states, "MOST_BYTES", 1)
    one_by_one = representation.outliers(pair, batch, times=2.0).table
    assert len(at_once) > 0
    pd.testing.assert_frame_equal(one_by_one, at_once, rtol=1e-4)
