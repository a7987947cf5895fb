"""Keys and values told apart by who looks at them: against the textbook's, and against what must hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analyses.circuits import AttributionOptions, Isolated, attribute, isolated_run
from probe.errors import ProbeError
from probe.readings import named
from tests.analyses.circuits import textbook
from tests.analyses.circuits.asking import agree, batch_of, differences, model_of, slots_and_canvases


@pytest.mark.parametrize("variant", ["gpt2", "llama-gqa", "qwen3", "gemma2", "gpt-neox"])
@pytest.mark.parametrize("attention", ["full", "block"])
def test_scores_of_either_direction_are_the_textbook_s(variant, attention):
    model, batch = model_of(variant, attention), batch_of()
    circuit = attribute(model, batch, steps=2, options=AttributionOptions(directions=True, metric="logit_difference"))
    slots, told = slots_and_canvases(model, batch)
    expected = textbook.integrated(*told, lambda logits: differences(batch, logits, slots).sum(), 2, apart=True)
    found = circuit.edges.set_index(["source", "target"])["score"]
    assert set(found.index) == set(expected)
    agree(torch.tensor([found[edge] for edge in expected]), torch.tensor(list(expected.values())))


@pytest.mark.parametrize("variant", ["gpt2", "llama-gqa"])
@pytest.mark.parametrize("attention", ["causal", "full"])
def test_directions_add_up(variant, attention):
    model, batch = model_of(variant, attention), batch_of()
    whole, parted = (
        attribute(model, batch, steps=2, options=AttributionOptions(directions=apart)) for apart in (False, True)
    )
    from_right = np.array([one.from_right for one in parted.graph.target_values])
    agree(
        torch.tensor(parted.scores[:, ~from_right].sum() + parted.scores[:, from_right].sum()),
        torch.tensor(whole.scores.sum()),
    )
    sums = {name: np.zeros(len(whole.graph.sources)) for name in whole.graph.targets}
    for name, column in zip(parted.graph.targets, parted.scores.T, strict=True):
        sums[name.replace("@from_right", "")] += column
    agree(torch.tensor(np.stack(list(sums.values()), axis=1)), torch.tensor(whole.scores))
    assert (np.abs(parted.scores[:, from_right]).max() == 0) == (attention == "causal")


@pytest.mark.parametrize("variant", ["gpt2", "qwen3", "gpt-neox"])
def test_a_circuit_with_directions_runs_as_the_textbook_runs_it(variant):
    model, batch = model_of(variant, "full"), batch_of(n=2)
    graph = attribute(model, batch, method="eap", options=AttributionOptions(directions=True)).graph
    kept = (np.random.default_rng(0).random((2, *graph.shape)) < [[[0.3]], [[0.8]]]) & graph.valid
    kept[1, :, graph.qkv_targets(0)] = graph.valid[:, graph.qkv_targets(0)]  # a layer that nobody patches
    found = isolated_run(model, batch, Isolated(graph, kept))
    slots, told = slots_and_canvases(model, batch)
    for at, mask in enumerate(kept):
        edges = graph.frame(mask)
        logits = textbook.circuit_alone(*told, set(zip(edges["source"], edges["target"], strict=True)), apart=True)
        agree(torch.tensor(found.circuits[:, at]), differences(batch, logits, slots))


@pytest.mark.parametrize(("variant", "reason"), [("phi3", "one projection"), ("olmo2", "one norm over all heads")])
def test_keys_that_cannot_be_had_twice_are_refused(variant, reason):
    with pytest.raises(ProbeError, match=reason):
        attribute(model_of(variant, "full"), batch_of(), options=AttributionOptions(directions=True))


def test_an_edited_pattern_is_refused():
    import probe

    model, batch = model_of("gpt2"), batch_of()
    edit = probe.zero("pattern", layer=0, head=0)
    with probe.edit(model, [edit]), pytest.raises(ProbeError, match="directions"):
        attribute(model, batch, options=AttributionOptions(directions=True))
    assert named("prefix").logits(model, batch).isfinite().all()


def test_the_backbone_is_left_as_it_was():
    """It may be called by itself, without the model around it, after keys were had twice."""
    model, batch = model_of("llama-gqa", "full"), batch_of()
    before = model.backbone(batch.clean).logits
    attribute(model, batch, steps=1, options=AttributionOptions(directions=True))
    torch.testing.assert_close(model.backbone(batch.clean).logits, before)
