"""Component lens and direct logit attribution: they add up, and they point at what was planted."""

from __future__ import annotations

import pytest
import torch

import probe
from analyses import lens
from analyses.activations.answer_states import answer_states
from analyses.lens.attribution import margin_by_node
from analyses.lens.unembedding import Unembedding
from analyses.result import Result
from probe.errors import ProbeError
from probe.paradigms import Masked
from tests.analyses.planted import batch_of, permuted_heads, relay
from tests.probe.tiny import MASK, model_of

DENSE = ("gpt2", "llama-gqa", "llama-biased", "qwen2", "qwen3", "qwen3-wide-heads-tied")


def texts(n: int = 10):
    clean = torch.randint(0, 40, (n, 6), generator=torch.Generator().manual_seed(0))
    corrupt = clean.clone()
    corrupt[:, 1] = (corrupt[:, 1] + 1) % 40
    return batch_of(clean, corrupt, 5, (clean[:, 5] + 1) % 40)


@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize("variant", [*DENSE, "olmo2", "phi3", "gemma2", "gemma3", "gpt-neox", "mixtral"])
def test_the_parts_add_up_to_the_margin(variant, shift):
    model, batch = model_of(variant, Masked(mask_id=MASK, shift=shift)), texts()
    found = margin_by_node(answer_states(model, batch, reading="prefix"))
    with torch.no_grad():
        logits = probe.readings.named("prefix").logits(model, batch)
    if model.logit_cap is not None:  # the margin before the cap
        logits = model.logit_cap * (logits / model.logit_cap).clamp(-0.999999, 0.999999).atanh()
    rows = torch.arange(len(batch))
    margin = logits[rows, batch.target] - logits[rows, batch.distractor]
    assert found.values.sum(1) == pytest.approx(margin.numpy(), abs=1e-3)
    assert len(found.axes["node"]) == 2 + model.n_layers * (model.n_heads + 1)


def test_a_model_with_a_prediction_head_has_no_direct_parts_and_its_lens_goes_through_the_head():
    model, batch = model_of("modernbert", Masked(mask_id=MASK, shift=False)), texts(4)
    with pytest.raises(ProbeError, match="a prediction head with an activation"):
        lens.direct(model, batch)
    states = answer_states(model, batch, ["resid_post"])
    believed = Unembedding.of(states).log_probabilities(states.at("resid_post")[:, -1])
    with torch.no_grad():
        logits = probe.readings.named("prefix").logits(model, batch)
    torch.testing.assert_close(believed[:, :MASK], logits[:, :MASK].log_softmax(-1), atol=1e-5, rtol=0)


def test_only_the_mlp_that_was_planted_writes_the_answer():
    planted = relay(n_layers=4, first=1, heads=(0, 2))
    table = lens.direct(planted.model, planted.batch, reading="ar").table.set_index("node")
    assert table["estimate"].idxmax() == "m2"
    assert table["estimate"].drop("m2").abs().max() < 1e-3
    assert table.loc["m2", "low"] > 1


def test_a_specialised_component_says_one_thing_and_the_others_nothing():
    planted = relay(n_layers=4, first=1, n=24)
    table = lens.component_lens(planted.model, planted.batch, reading="ar").table
    wide = table.pivot(index="node", columns="measure", values="estimate")
    assert wide["rank of the target"].idxmin() == "m2"
    assert wide.loc["m2", "rank of the target"] == pytest.approx(1)
    silent = wide.drop(index=["m2", "a1.h0", "a2.h0"])
    assert silent["rank of the target"].tolist() == pytest.approx([4.5] * len(silent))  # the middle of eight
    assert wide["entropy (nats)"].idxmin() == "m2"
    assert silent["entropy (nats)"].tolist() == pytest.approx([torch.tensor(8.0).log().item()] * len(silent), abs=1e-5)


def test_permuting_heads_permutes_their_parts():
    model, batch = model_of("gpt2", Masked(mask_id=MASK)), texts()
    ours, theirs = (margin_by_node(answer_states(each, batch)) for each in (model, permuted_heads(model, seed=2)))
    for layer in range(model.n_layers):
        heads = [place for place, node in enumerate(ours.axes["node"]) if node.startswith(f"a{layer}.")]
        for row in range(len(batch)):
            assert sorted(theirs.values[row, heads]) == pytest.approx(sorted(ours.values[row, heads]), abs=1e-4)
    mlps = [place for place, node in enumerate(ours.axes["node"]) if node.startswith("m")]
    assert theirs.values[:, mlps] == pytest.approx(ours.values[:, mlps], abs=1e-4)


def test_they_are_drawn_from_their_tables(tmp_path):
    planted = relay(n_layers=3, first=0)
    for result in (
        lens.direct(planted.model, planted.batch, reading="ar"),
        lens.component_lens(planted.model, planted.batch, reading="ar"),
        lens.logit_lens(planted.model, planted.batch, reading="ar"),
        lens.depth(planted.model, planted.batch, reading="ar"),
    ):
        again = Result.open(result.save(tmp_path))
        assert again.figure().to_json() == result.figure().to_json()
        assert len(result.figure().data) > 0
