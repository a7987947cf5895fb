"""Exact patching against the textbook's, node by node and edge by edge, and gradients against exact patching."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import probe
from analyses.circuits import AttributionOptions, attribute
from probe.readings import named
from tests.analyses.circuits import textbook
from tests.analyses.circuits.asking import PARADIGMS, agree, batch_of, differences, model_of, slots_and_canvases


@pytest.mark.parametrize("attention", ["causal", "full"])
@pytest.mark.parametrize(
    "variant", ["gpt2", "llama-gqa", "qwen3", "olmo2", "phi3", "gemma2", "gemma3", "gpt-neox", "mixtral", "modernbert"]
)
def test_exact_edges_are_the_textbook_s(variant, attention):
    model, batch = model_of(variant, attention), batch_of(n=2)
    circuit = attribute(model, batch, method="exact-edges", options=AttributionOptions(metric="logit_difference"))
    slots, told = slots_and_canvases(model, batch)
    everything = set(zip(circuit.edges["source"], circuit.edges["target"], strict=True))
    clean = differences(batch, textbook.circuit_alone(*told, everything), slots)
    picked = circuit.edges.sample(40, random_state=0)
    expected = [
        float((differences(batch, textbook.edge_patched(*told, source, target), slots) - clean).mean())
        for source, target in zip(picked["source"], picked["target"], strict=True)
    ]
    agree(torch.tensor(picked["score"].to_numpy()), torch.tensor(expected))


@pytest.mark.parametrize("variant", ["gpt2", "llama-gqa", "gemma2", "gpt-neox", "mixtral", "modernbert"])
def test_exact_nodes_are_what_edits_of_the_model_do(variant):
    model, batch = model_of(variant, "full"), batch_of(n=3)
    circuit = attribute(model, batch, method="exact-nodes", options=AttributionOptions(rows=7))
    prefix = named("prefix")
    corrupt = probe.record(model, prefix.canvas(model, batch, "corrupt").tokens, ["embed", "head_out", "mlp_out"])

    def value() -> np.ndarray:
        logits = prefix.logits(model, batch)
        return (logits.gather(1, batch.target[:, None]) - logits.gather(1, batch.distractor[:, None]))[:, 0].numpy()

    clean = value()
    for at, node in circuit.nodes.iterrows():
        if node["kind"] == "logits":
            edit = probe.patch("resid_post", probe.record(
                model, prefix.canvas(model, batch, "corrupt").tokens, ["resid_post"]
            ).resid_post[:, 1], layer=1)  # fmt: skip
        elif node["kind"] == "input":
            edit = probe.patch("embed", corrupt)
        elif node["kind"] == "mlp":
            edit = probe.patch("mlp_out", corrupt.mlp_out.sel(layer=node["layer"]), layer=node["layer"])
        else:
            write = corrupt.head_out.sel(layer=node["layer"], head=[node["head"]])
            edit = probe.patch("head_out", write, layer=node["layer"], head=node["head"])
        with probe.edit(model, [edit]):
            agree(torch.tensor(circuit.per_example[:, int(str(at))]), torch.tensor(value() - clean))


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_one_edge_into_the_logits_is_a_node_that_does_nothing_else(paradigm):
    """The last MLP is read by the logits alone, so patching its edge is patching it."""
    circuit = attribute(model_of("qwen2", paradigm), batch_of(), method="exact-edges")
    edge = circuit.edges.set_index(["source", "target"])["score"]["m1", "logits"]
    assert edge == pytest.approx(circuit.nodes.set_index("node")["score"]["m1"], rel=1e-4)


def test_exact_examples_add_up():
    circuit = attribute(
        model_of("gpt2", "full"),
        batch_of(),
        method="exact-edges",
        reading="ratio",
        options=AttributionOptions(example_edges=True),
    )
    agree(torch.tensor(circuit.example_edges.mean(0)), torch.tensor(circuit.scores))


@pytest.mark.parametrize("method", ["eap", "eap-ig", "eap-ig-activations"])
@pytest.mark.parametrize("variant", ["gpt2", "qwen3"])
def test_gradients_are_exact_where_changes_are_small(variant, method):
    """To first order they are one thing: let a corrupt token's embedding be next to the clean token's."""
    model, batch = model_of(variant, "full"), batch_of(n=2)
    table, generator = model.embedding.weight, torch.Generator().manual_seed(0)
    changed = batch.clean != batch.corrupt
    with torch.no_grad():
        near = 0.001 * torch.randn(int(changed.sum()), table.shape[1], generator=generator)
        table[batch.corrupt[changed]] = table[batch.clean[changed]] + near
    exact, found = (attribute(model, batch, method=name, steps=2) for name in ("exact-edges", method))
    agree(torch.tensor(found.scores), torch.tensor(exact.scores), within=0.02)
    agree(torch.tensor(found.per_example), torch.tensor(exact.per_example), within=0.02)


@pytest.mark.parametrize(("variant", "attention"), [("gpt2", "causal"), ("llama-gqa", "full")])
def test_gradients_come_close_to_exact_patching(variant, attention, record_property):
    """No theorem, but what is to be expected of 2 layers; `-s` prints the correlations."""
    model, batch = model_of(variant, attention), batch_of(n=8)
    exact = attribute(model, batch, method="exact-edges")
    valid = exact.graph.valid
    for method in ("eap", "eap-ig", "eap-ig-activations"):
        found = attribute(model, batch, method=method, steps=8)
        pearson = np.corrcoef(exact.scores[valid], found.scores[valid])[0, 1]
        spearman = spearmanr(exact.scores[valid], found.scores[valid])[0]
        record_property(f"{method} against exact edges on {variant}", (float(pearson), float(spearman)))
        print(f"{method} against exact edges on {variant}: Pearson {pearson:.3f}, Spearman {spearman:.3f}")
        if method == "eap-ig":
            assert pearson > 0.8
