"""Exact patching against the textbook's, node by node and edge by edge, and gradients against exact patching."""

from __future__ import annotations

import pytest
import torch

from analyses.circuits import attribute
from tests.analyses.circuits import textbook
from tests.analyses.circuits.asking import agree, batch_of, differences, model_of, slots_and_canvases


@pytest.mark.parametrize("attention", ["causal", "full"])
@pytest.mark.parametrize("variant", ["gpt2", "llama-gqa", "qwen3"])
def test_exact_edges_are_the_textbook_s(variant, attention):
    model, batch = model_of(variant, attention), batch_of(n=2)
    circuit = attribute(model, batch, method="exact-edges", metric="logit_difference")
    slots, told = slots_and_canvases(model, batch)
    everything = set(zip(circuit.edges["source"], circuit.edges["target"], strict=True))
    clean = differences(batch, textbook.circuit_alone(*told, everything), slots)
    picked = circuit.edges.sample(40, random_state=0)
    expected = [
        float((differences(batch, textbook.edge_patched(*told, source, target), slots) - clean).mean())
        for source, target in zip(picked["source"], picked["target"], strict=True)
    ]
    agree(torch.tensor(picked["score"].to_numpy()), torch.tensor(expected))
