"""The diff of circuits: nothing between equals, no more than it says between seeds, and what was really changed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from analyses.circuits import AttributionOptions, DiffOptions
from analyses.circuits.attribution.attribute import attribute
from analyses.circuits.circuit import Circuit
from analyses.circuits.comparison.diff import diff
from analyses.circuits.graph import Graph
from probe.errors import ProbeError
from tests.analyses.circuits.synthetic import SMALL, heavy, random_circuit
from tests.analyses.planted import batch_of
from tests.probe.tiny import model_of, tokens_of

GRAPH = Graph(n_layers=4, n_heads=4, n_kv_heads=4)
K, RATE = 50, 0.05


def reseeded(truth: np.ndarray, seed: int, *, change: float = 0.6, noise: float = 2.0, n: int = 40) -> Circuit:
    """A circuit that shares a truth with others, its edges being a factor weaker or stronger by its seed."""
    generator = np.random.default_rng(seed)
    own = truth * generator.lognormal(0, change, truth.shape)
    return random_circuit(GRAPH, n=n, noise=noise, seed=seed + 10_000, scores=own, model=f"seed {seed}")


def called(result, *statuses: str) -> set[tuple[str, str]]:
    rows = result.table[result.table["status"].isin(statuses)]
    return set(zip(rows["source"], rows["target"], strict=True))


def test_the_same_weights_twice_have_no_difference():
    one = random_circuit(SMALL, noise=8)
    result = diff(one, one, k=30)
    assert set(result.table["status"]) == {"kept"}
    assert len(result.table) == 30
    assert (result.table[["estimate", "low", "high"]] == 0).all(axis=None)
    assert result.about["counts"] == {"kept": 30, "lost": 0, "gained": 0, "undecided": 0}


@pytest.mark.parametrize("with_seeds", [True, False], ids=["seeds", "prompts"])
def test_another_seed_is_not_called_a_change(with_seeds):
    """Of the edges of a circuit, no more than the stated rate; on average, as it is stated."""
    shares = []
    for trial in range(30):
        truth = heavy(GRAPH, np.random.default_rng(trial))
        # Where only prompts make the null, seeds may not differ by more than prompts do.
        a, b, c = (reseeded(truth, 3 * trial + turn, change=0.6 if with_seeds else 0.0) for turn in range(3))
        result = diff(
            a, b, null=[(a, c)] if with_seeds else (), k=K, options=DiffOptions(rate=RATE, confidence=0, resamples=2)
        )
        shares.append(len(called(result, "lost", "gained")) / (2 * K))
    assert np.mean(shares) <= RATE + 2 * np.std(shares) / np.sqrt(len(shares))
    assert np.mean(shares) <= RATE * 1.2
    assert not with_seeds or np.mean(shares) > 0  # it does find that much


def test_confidence_can_only_take_calls_back():
    truth = heavy(GRAPH, np.random.default_rng(0))
    a, b, c = (reseeded(truth, turn) for turn in range(3))
    free, held = (
        called(diff(a, b, null=[(a, c)], k=K, options=DiffOptions(rate=0.3, confidence=at)), "lost", "gained")
        for at in (0, 0.95)
    )
    assert held < free


def test_what_was_taken_out_is_lost_and_what_was_put_in_is_gained():
    generator = np.random.default_rng(5)
    truth = heavy(GRAPH, generator)
    order = np.argsort(-np.abs(truth[GRAPH.valid]))
    out, put_in = order[5:15], order[-10:]
    edges = truth[GRAPH.valid].copy()
    edges[put_in], edges[out] = 60.0, 0.0
    changed = truth.copy()
    changed[GRAPH.valid] = edges
    a, c, b = reseeded(truth, 1), reseeded(truth, 2), reseeded(changed, 3)
    result = diff(a, b, null=[(a, c)], k=K)
    frame = GRAPH.frame()
    names = list(zip(frame["source"], frame["target"], strict=True))
    lost, gained = ({names[edge] for edge in of} for of in (out, put_in))
    assert len(called(result, "lost") & lost) >= 8
    assert len(called(result, "gained") & gained) >= 8
    assert len(called(result, "lost", "gained") - lost - gained) <= 4
    sure = result.table[result.table["status"].isin(["lost", "gained"])]
    assert (sure["p"] <= RATE).all()
    assert (sure["confidence"] >= 0.95).all()
    assert ((sure["low"] > 0) == (sure["status"] == "gained")).all()


def test_seeds_that_have_nothing_in_common_call_nothing():
    a, b, c = (random_circuit(GRAPH, noise=1, seed=seed) for seed in (1, 2, 3))
    result = diff(a, b, null=[(a, c)], k=K)
    counts = result.about["counts"]
    assert counts["undecided"] > 60
    assert counts["lost"] + counts["gained"] <= 2 * RATE * 2 * K


def test_false_calls_between_real_models_that_differ_by_a_seed():
    """Five models that are one up to a little noise in their weights: every pair, held against every other pair."""
    tokens, changed = tokens_of(16, 10), tokens_of(16, 10, seed=1)
    corrupt = tokens.clone()
    corrupt[:, 3] = (tokens[:, 3] + 1 + changed[:, 3] % 40) % 47
    batch = batch_of(tokens, corrupt, 9, (tokens[:, 9] + 5) % 47)
    circuits = [
        attribute(_jittered(seed), batch, reading="ar", steps=2, options=AttributionOptions(example_edges=True))
        for seed in range(5)
    ]
    k = 20
    shares = [
        len(called(diff(a, b, null=[(a, c)], k=k, options=DiffOptions(confidence=0, resamples=2)), "lost", "gained"))
        / (2 * k)
        for a in circuits
        for b in circuits
        for c in circuits
        if len({id(a), id(b), id(c)}) == 3
    ]
    assert len(shares) == 60
    assert np.mean(shares) <= RATE


def _jittered(seed: int):
    import torch

    model = model_of("llama-gqa")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return model


def test_a_diff_needs_something_to_hold_it_against():
    a, b = (dataclasses.replace(random_circuit(seed=seed), by_example=None) for seed in (1, 2))
    with pytest.raises(ProbeError, match="second seed"):
        diff(a, b)
    result = diff(a, b, null=[(a, random_circuit(seed=3))])
    assert result.table["confidence"].isna().all()


def test_a_circuit_larger_than_the_graph_is_refused():
    with pytest.raises(ProbeError):
        diff(random_circuit(seed=1), random_circuit(seed=2), k=10**6)
