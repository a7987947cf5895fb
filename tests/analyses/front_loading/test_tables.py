"""Where computation lies: closed forms, planted circuits, and what must not matter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import wasserstein_distance

from analyses import circuits, front_loading
from analyses.circuits import AttributionOptions
from analyses.components.scores import (
    depths,
    paired,
    scores_of,
)
from analyses.front_loading import statistic
from analyses.front_loading.statistic import centre, early, shares, wasserstein
from probe.errors import ProbeError
from tests.analyses.components.made_scores import HEADS, LAYERS, in_layer, scores_with
from tests.analyses.planted import permuted_heads, relay


def figure(result, measure: str, **where) -> pd.Series:
    rows = result.table[result.table["measure"] == measure]
    for name, value in where.items():
        rows = rows[rows[name] == value]
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.mark.parametrize(("layer", "expected"), [(0, 1 - 1 / LAYERS), (LAYERS - 1, 1 / LAYERS - 1)])
def test_all_in_one_layer(layer, expected):
    table = front_loading.index(scores_with(in_layer(layer)), scores_with(in_layer(layer)), parts=("all",))
    row = table.table.query("measure == 'FLI'").iloc[0]
    assert row["estimate"] == pytest.approx(expected)
    assert row["high"] - row["low"] == pytest.approx(0, abs=1e-9)


def test_even_is_0_and_signs_do_not_matter():
    signs = np.where(np.arange(LAYERS * HEADS).reshape(LAYERS, HEADS) % 3, 1.0, -1.0)
    result = front_loading.index(scores_with(signs), scores_with(-signs), parts=("all",))
    assert result.table.query("measure == 'FLI'")["estimate"].to_numpy() == pytest.approx([0, 0])
    assert result.table.query("measure == 'early mass'")["estimate"].to_numpy() == pytest.approx([1 / 3, 1 / 3])


@given(*[arrays(float, 7, elements=st.floats(0.01, 1))] * 2)
def test_wasserstein_is_scipys(a, b):
    a, b = shares(a), shares(b)
    assert wasserstein(a, b) == pytest.approx(wasserstein_distance(depths(7), depths(7), a, b))
    assert abs(centre(a) - centre(b)) <= wasserstein(a, b) + 1e-12


@given(arrays(float, 9, elements=st.floats(0, 1)))
def test_bounds(mass):
    profile = shares(mass + 1e-3)
    assert -1 < statistic.front_loading(profile) < 1
    assert 0 <= early(profile) <= 1


def test_the_same_model_twice_has_not_moved():
    one = scores_with(np.random.default_rng(0).normal(size=(LAYERS, HEADS)), noise=0.5)
    result = front_loading.index(one, one)
    for measure in ("Δ FLI", "Δ early mass", "W₁"):
        row = figure(result, measure, part="all")
        assert (row["estimate"], row["p"]) == (0, 1)


def test_a_change_is_found_and_its_sign_is_right():
    means = np.random.default_rng(0).exponential(size=(LAYERS, HEADS))
    earlier = means * np.exp(-0.5 * np.arange(LAYERS))[:, None]
    two = scores_with(means, noise=0.3), scores_with(earlier, noise=0.3, seed=1, model="diffusion")
    result = front_loading.index(*two, parts=("all",))
    change = figure(result, "Δ FLI")
    assert change["low"] > 0
    assert figure(result, "W₁")["estimate"] > figure(result, "W₁")["null_high"]
    back = figure(front_loading.index(*two[::-1], parts=("all",)), "Δ FLI")
    assert back["estimate"] == pytest.approx(-change["estimate"])


def test_did_is_the_global_change_less_the_local_one():
    means = np.random.default_rng(0).exponential(size=(LAYERS, HEADS))
    earlier = means * np.exp(-0.5 * np.arange(LAYERS))[:, None]
    stays = tuple(scores_with(means, noise=0.3, seed=seed, scope="local") for seed in (1, 2))
    moves = (
        scores_with(means, noise=0.3, seed=3, scope="global"),
        scores_with(earlier, noise=0.3, seed=4, scope="global"),
    )
    result = front_loading.did({"ioi": stays, "paths": moves})
    row = figure(result, "Δ FLI", task="global − local")
    parts = [figure(result, "Δ FLI", task=task)["estimate"] for task in ("paths", "ioi")]
    assert row["estimate"] == pytest.approx(parts[0] - parts[1])
    assert row["low"] > 0
    assert figure(result, "Δ FLI", task="all local")["low"] < 0 < figure(result, "Δ FLI", task="all local")["high"]
    assert (result.table["q"] >= result.table["p"] - 1e-12).all()


def test_other_examples_are_refused():
    one = scores_with(in_layer(0), examples="ioi, seed 0, n 40")
    other = scores_with(in_layer(0), examples="ioi, seed 1, n 40")
    with pytest.raises(ProbeError, match="one batch"):
        paired(one, other)


# Planted circuits

PLANTED = {
    (depth, spread): relay(first=first, heads=heads, noise=0.02)
    for depth, first in (("early", 0), ("late", 4))
    for spread, heads in (("concentrated", (0,)), ("spread", (0, 1, 2, 3)))
}


@pytest.fixture(scope="module")
def found():
    return {name: circuits.attribute(one.model, one.batch, reading="ar") for name, one in PLANTED.items()}


def index_of(circuit) -> float:
    return float(statistic.index_of(scores_of(circuit))(np.full((1, circuit.n), 1 / circuit.n))[0])


def test_planted_early_before_late(found):
    for spread in ("concentrated", "spread"):
        assert index_of(found["early", spread]) > 0.4
        assert index_of(found["late", spread]) < -0.4


def test_permuted_heads_change_no_index(found):
    planted = PLANTED["early", "spread"]
    permuted = circuits.attribute(permuted_heads(planted.model, seed=1), planted.batch, reading="ar")
    assert index_of(permuted) == pytest.approx(index_of(found["early", "spread"]), abs=1e-4)


def test_rescaling_heads_against_their_reader_changes_no_index(found):
    """Values thrice as large, read by weights a third as large: the same model, written otherwise."""
    planted = relay(heads=(0, 1, 2, 3), noise=0.02)
    before = planted.model.logits(planted.batch.clean)
    with torch.no_grad():
        for block in planted.model.blocks:
            width = planted.model.d_model
            block.attn.c_attn.weight[:, 2 * width :] *= 3
            block.attn.c_attn.bias[2 * width :] *= 3
            block.attn.c_proj.weight /= 3
    torch.testing.assert_close(planted.model.logits(planted.batch.clean), before, atol=1e-3, rtol=1e-3)
    rescaled = circuits.attribute(planted.model, planted.batch, reading="ar")
    assert index_of(rescaled) == pytest.approx(index_of(found["early", "spread"]), abs=1e-3)


def test_edges_start_early_and_reach_far_where_they_were_planted_so():
    early_one, late_one = (
        circuits.attribute(
            PLANTED[depth, "concentrated"].model,
            PLANTED[depth, "concentrated"].batch,
            reading="ar",
            options=AttributionOptions(example_edges=True),
        )
        for depth in ("early", "late")
    )
    table = front_loading.spans(early_one, late_one, k=40).table
    depth, span = (table[table["measure"] == name]["estimate"].to_numpy() for name in ("source depth", "span"))
    assert depth[0] < 0.4 < 0.6 < depth[1]
    assert span[0] > span[1]
    assert (table["low"] <= table["estimate"]).all()
    more = front_loading.spans(early_one, k=10_000)  # than there are
    assert f"has {early_one.graph.n_edges:,}" in more.caption
    assert more.table.equals(front_loading.spans(early_one).table)
