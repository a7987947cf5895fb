"""Flows: what they see is noise where others see masks, and every measure knows it."""

from __future__ import annotations

import pytest
import torch

import probe
from analyses import attention, lens, representation
from analyses.activations.answer_states import answer_states
from analyses.attention.marks import hidden_slots
from analyses.depth import layer_skipping
from probe.decoding import Flowing
from probe.models.model import Model
from probe.pairs import Pair
from probe.paradigms import Autoregressive, Flow
from probe.readings import Noise
from probe.tasks import vocabulary
from tests.probe.tiny import backbone_of

WORDS = vocabulary.shipped()
MASK = WORDS.mask_token_id
PAIR = Pair(
    Model(backbone_of("llama", vocab_size=len(WORDS)), Autoregressive(), WORDS, name="ar"),
    Model(backbone_of("llama", vocab_size=len(WORDS), seed=1), Flow(mask_id=MASK), WORDS, name="flow"),
)
BATCH = probe.task("ioi").examples(WORDS, 8, seed=0)
NOISE = Noise(tau=0.6, draws=2, over="completion", answer="noised")


def test_noise_is_hidden_whatever_token_is_on_its_way():
    states = NOISE.ask(PAIR.diffusion, BATCH)
    assert not (states.canvas.tokens == MASK).any()
    assert torch.equal(hidden_slots(PAIR.diffusion, states.canvas), states.view.hidden)


@pytest.mark.parametrize("reading", ["prefix", NOISE])
def test_a_flow_and_its_twin_are_measured_alike(reading):
    for result in (
        lens.logit_lens(PAIR, BATCH, reading=reading),
        lens.direct(PAIR, BATCH, reading=reading),
        attention.heads(PAIR, BATCH, reading=reading, resamples=50),
        layer_skipping.skip_effects(PAIR, BATCH, reading=reading),
    ):
        assert {"ar", "diffusion", "diffusion − ar"} == set(result.table["role"])
    groups = representation.cosine(PAIR, BATCH, reading="prefix").table["tokens"]
    assert set(groups) == {"clean", "masked", "before a mask"}


def test_a_flow_is_skipped_under_its_own_noise():
    """Variants of a text see the noise of that text."""
    states = NOISE.ask(PAIR.diffusion, BATCH)
    canvas = states.canvas[:3]
    found = layer_skipping.effect(PAIR.diffusion, canvas, states.slots[:3])
    trace = probe.record(PAIR.diffusion, canvas, ["resid_pre", "resid_post"])
    with probe.edit(PAIR.diffusion, probe.skip(0)):
        other = probe.record(PAIR.diffusion, canvas, ["resid_pre", "resid_post"])
    whole, changed = (torch.tensor((each.resid_post - each.resid_pre).values)[:, 1] for each in (trace, other))
    expected = ((changed - whole).norm(dim=-1) / whole.norm(dim=-1)).amax(-1)
    torch.testing.assert_close(found[:, 0, 1, 0], expected, atol=1e-5, rtol=1e-4)


def test_a_flows_lens_is_trained_under_noise_and_its_sinks_are_of_its_own_states():
    tuned = lens.train(PAIR.diffusion, BATCH, steps=2, rows=8)
    assert any("noise" in reading for reading in tuned.about["readings"])
    assert lens.tuned_lens(PAIR.diffusion, BATCH, tuned).table["estimate"].notna().all()
    run = probe.decode(PAIR.diffusion, BATCH.clean[:, :6], 2, sampler=Flowing(3, keep=True))
    with attention.watched(PAIR.diffusion) as seen:
        probe.record(PAIR.diffusion, run, "resid_post")
    first = seen.passes[0].scores[..., attention.watching.MEASURES.index("sink")].mean()
    table = attention.sinks(PAIR.diffusion, run).table
    mass = table[(table["measure"] == "mass") & (table["step"] == 0)]["estimate"].mean()
    assert mass == pytest.approx(first.item(), abs=1e-5)
    assert len(answer_states(PAIR.diffusion, BATCH, reading=NOISE)) == 16
