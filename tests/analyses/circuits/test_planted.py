"""Circuits that were put there by hand are found again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analyses.circuits import AttributionOptions
from analyses.circuits.attribution.attribute import attribute
from analyses.circuits.comparison.compare import compare
from analyses.circuits.selection import select
from probe.paradigms import Masked
from probe.readings import named
from tests.analyses.circuits.planted_edges import auroc
from tests.analyses.planted import MASK, Planted, induction, permuted_heads, relay

LATER = {"source": 5, "via": 4, "at": 2}  # what is asked for stands to the right
FULL = Masked(mask_id=MASK, shift=False)


def prompts(**shape) -> dict[str, tuple[Planted, str]]:
    late, heads = shape["n_layers"] - 2, tuple(range(shape["n_heads"]))
    return {
        "early, concentrated": (relay(**shape), "ar"),
        "late, concentrated": (relay(first=late, **shape), "ar"),
        "early, spread": (relay(heads=heads, **shape), "ar"),
        "late, spread": (relay(first=late, heads=heads, **shape), "ar"),
        "masked": (relay(paradigm=FULL, **shape), "prefix"),
        "from the right": (relay(paradigm=FULL, **LATER, **shape), "one_mask"),
        "through keys": (induction(through="k", **shape), "ar"),
        "through queries": (induction(through="q", **shape), "ar"),
    }


QUESTIONS = prompts(n_layers=6, n_heads=4, n=16, noise=0.03)
SMALL_QUESTIONS = prompts(n_layers=3, n_heads=2, n=6, noise=0.05)  # for what takes a pass an edge


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_planted_model_answers(name):
    question, reading = QUESTIONS[name]
    batch = question.batch
    with torch.no_grad():
        clean, corrupt = (named(reading).logits(question.model, batch, which) for which in ("clean", "corrupt"))
    assert torch.equal(clean.argmax(-1), batch.target)
    assert torch.equal(corrupt.argmax(-1), batch.distractor)


@pytest.mark.parametrize("method", ["eap", "eap-ig", "eap-ig-activations"])
@pytest.mark.parametrize("name", QUESTIONS)
def test_gradients_find_what_was_planted(name, method):
    # Along activations there is a path for each layer.
    question, reading = (SMALL_QUESTIONS if method == "eap-ig-activations" else QUESTIONS)[name]
    circuit = attribute(question.model, question.batch, reading=reading, method=method, steps=3)
    assert auroc(circuit, question.edges) >= 0.99
    mask = select(circuit, len(question.edges), how="greedy")
    found = circuit.graph.frame(mask)
    assert set(zip(found["source"], found["target"], strict=True)) == question.edges


@pytest.mark.parametrize("name", QUESTIONS)
def test_exact_patching_finds_what_was_planted(name):
    question, reading = SMALL_QUESTIONS[name]
    circuit = attribute(question.model, question.batch, reading=reading, method="exact-edges")
    assert auroc(circuit, question.edges) == 1.0
    parts = circuit.nodes[circuit.nodes["kind"].isin(["head", "mlp"])]
    strongest = parts.loc[parts["score"].abs().nlargest(len(question.nodes)).index, "node"]
    assert set(strongest) == question.nodes


def test_what_comes_from_the_right_is_told_apart():
    """Of one and the same task, the part of attention that no causal model has."""
    share = {}
    for name in ("masked", "from the right"):
        question, reading = QUESTIONS[name]
        circuit = attribute(
            question.model, question.batch, reading=reading, steps=2, options=AttributionOptions(directions=True)
        )
        into = circuit.edges[circuit.edges["target_kind"].isin(["k", "v"])]
        right = into["target"].str.contains("@from_right")
        share[name] = into["score"].abs()[right].sum() / into["score"].abs().sum()
    assert share["masked"] < 0.05
    assert share["from the right"] > 0.95


def test_permuting_heads_moves_edges_and_nothing_else():
    question = relay(noise=0.05, n_layers=4)
    other = permuted_heads(question.model, seed=2)
    one, two = (attribute(model, question.batch, reading="ar", steps=2) for model in (question.model, other))
    overlap = compare(one, two, ks=[60]).table.set_index(["subset", "measure"])["estimate"]
    assert overlap["all", "jaccard"] < 0.8
    of_layers = [
        {name: np.sort(of["score"]) for name, of in each.nodes.groupby(["layer", "kind"])} for each in (one, two)
    ]
    for name, scores in of_layers[0].items():
        np.testing.assert_allclose(of_layers[1][name], scores, atol=1e-4)


def test_permuting_heads_changes_the_weights_and_not_the_function():
    question = relay(noise=0.05)
    other = permuted_heads(question.model, seed=1)
    key = "transformer.h.0.attn.c_proj.weight"
    assert not torch.equal(question.model.backbone.state_dict()[key], other.backbone.state_dict()[key])
    with torch.no_grad():
        torch.testing.assert_close(other.logits(question.batch.clean), question.model.logits(question.batch.clean))


def test_norms_do_nothing():
    """The trick the planted models rest on: the norms' outputs are their inputs."""
    question = relay(noise=0.05)
    seen = []
    for block in question.model.blocks:
        for norm in (block.ln_1, block.ln_2):
            norm.register_forward_hook(lambda module, taken, given: seen.append((taken[0], given)))
    with torch.no_grad():
        question.model.logits(question.batch.clean)
    assert len(seen) == 2 * question.model.n_layers
    for taken, given in seen:
        torch.testing.assert_close(given, taken, atol=1e-6 * float(taken.abs().max()), rtol=1e-5)
