"""The noise reading: what is noised, how much, by which noise; and a flow's states as a trajectory and a trace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import probe
from probe.decoding import Flowing
from probe.errors import ProbeError
from probe.paradigms import Flow, FlowMap, Masked
from probe.paradigms.schedule import time_of
from probe.paradigms.soft import noise
from probe.readings import Noise, Ratio, named
from probe.readings.still import places_among
from probe.tasks import vocabulary
from tests.probe.tiny import model_of

WORDS = vocabulary.shipped()
MASK = WORDS.mask_token_id


def taught(paradigm):
    """A tiny random model in the shipped vocabulary: these questions are about what is shown, not what is known."""
    from probe.models.model import Model
    from tests.probe.tiny import backbone_of

    return Model(backbone_of("llama", vocab_size=len(WORDS)), paradigm, WORDS, name="tiny")


FLOW = taught(Flow(mask_id=MASK))
BATCH = probe.task("ioi").examples(WORDS, 6, seed=0)


def test_a_state_at_tau_mixes_text_and_noise_everywhere_but_at_the_answer():
    asked = Noise(tau=0.6, draws=2).ask(FLOW, BATCH)
    z = FLOW.paradigm.state(FLOW, asked.canvas.tokens, asked.canvas.soft)
    t = time_of(0.6, len(WORDS) - 1)
    answer, _ = places_among(BATCH, "text")
    for row in (0, 5, 6, 11):
        example = row % 6
        drawn = noise(asked.canvas.soft.draw[row : row + 1], z.shape[1], len(WORDS), MASK)[0]
        text = torch.nn.functional.one_hot(BATCH.clean[example], len(WORDS)).float()
        expected = (1 - t) * drawn + t * text
        expected[answer[example]] = drawn[answer[example]]
        expected[0] = text[0]
        assert torch.allclose(z[row], expected, atol=1e-6)


def test_the_answer_can_be_noised_like_the_rest_and_the_question_left_whole():
    view = Noise(tau=0.6, draws=1, over="completion", answer="noised").view(FLOW, BATCH)
    _, completion = places_among(BATCH, "completion")
    assert torch.equal(view.hidden, completion)
    assert torch.allclose(view.soft.tau[completion], torch.tensor(0.6))
    assert (view.soft.tau[~completion] == 1).all()


def test_clean_and_corrupt_differ_in_the_question_alone():
    reading = Noise(tau=0.4, draws=2)
    clean, corrupt = (reading.ask(FLOW, BATCH, which) for which in ("clean", "corrupt"))
    assert torch.equal(clean.canvas.soft.draw, corrupt.canvas.soft.draw)
    states = [FLOW.paradigm.state(FLOW, asked.canvas.tokens, asked.canvas.soft) for asked in (clean, corrupt)]
    differ = (states[0] != states[1]).any(-1)
    rows, slots = BATCH.clean.shape
    changed = (BATCH.clean != BATCH.corrupt).repeat(2, 1)
    assert torch.equal(differ, changed)
    assert changed.any(1).all()
    assert differ.shape == (2 * rows, slots)


def test_an_examples_noise_is_its_own_whatever_batch_it_is_in():
    reading = Noise(tau=0.4, draws=3)
    whole, part = reading.view(FLOW, BATCH).soft.draw.view(3, 6), reading.view(FLOW, BATCH[2:4]).soft.draw.view(3, 2)
    assert torch.equal(whole[:, 2:4], part)
    assert whole.unique().numel() == 18
    assert not torch.equal(replace(reading, seed=1).view(FLOW, BATCH).soft.draw.view(3, 6), whole)
    logits = reading.logits(FLOW, BATCH).view(3, 6, -1)
    assert torch.allclose(logits[:, 2:4], reading.logits(FLOW, BATCH[2:4]).view(3, 2, -1), atol=1e-5)


def test_at_tau_zero_nothing_of_what_is_noised_is_told():
    reading = Noise(tau=0.0, draws=2, over="completion")
    other = replace(BATCH, clean=BATCH.clean.scatter(1, BATCH.positions["completion"], 3))
    assert torch.allclose(reading.logits(FLOW, BATCH), reading.logits(FLOW, other), atol=1e-5)


def test_it_is_matched_to_a_ratio_that_leaves_as_much():
    reading = Noise(tau=0.75, draws=4, seed=2)
    assert reading.matched == Ratio(rate=0.25, draws=4, seed=2)
    assert torch.allclose(reading.view(FLOW, BATCH).ratio, torch.tensor(0.25))
    tokens = torch.randint(3, len(WORDS), (1, 4000), generator=torch.Generator().manual_seed(0))
    t = time_of(0.75, len(WORDS) - 1)
    z = t * torch.nn.functional.one_hot(tokens, len(WORDS)) + (1 - t) * noise(torch.tensor([0]), 4000, len(WORDS), MASK)
    assert (z.argmax(-1) == tokens).float().mean().item() == pytest.approx(0.75, abs=0.03)


def test_no_other_model_sees_noise_and_unknown_knobs_are_refused():
    masked = taught(Masked(mask_id=MASK))
    with pytest.raises(ProbeError, match="only a flow can take"):
        Noise().logits(masked, BATCH)
    for wrong in ({"tau": 1.0}, {"draws": 0}, {"over": "words"}, {"answer": "hidden"}):
        with pytest.raises(ProbeError, match="noise"):
            named("noise", **wrong)


@pytest.mark.parametrize("reading", ["prefix", "one_mask", "ratio"])
def test_the_readings_of_masked_models_ask_a_flow_too(reading):
    """What they hide is noise there, and what stands behind it is not told."""
    asked = named(reading).ask(FLOW, BATCH)
    hidden = asked.view.hidden
    tau = asked.canvas.soft.tau
    assert torch.equal(tau == 0, hidden)
    assert torch.equal(tau == 1, ~hidden)
    shown = replace(asked.canvas, tokens=asked.canvas.tokens.masked_fill(hidden, 5))
    assert torch.allclose(FLOW.run(asked.canvas), FLOW.run(shown), atol=1e-6)


@pytest.mark.parametrize("paradigm", [Flow, FlowMap])
def test_a_trajectory_asks_at_every_state_of_the_run(paradigm):
    model = taught(paradigm(mask_id=MASK))
    reading = named("trajectory", sampler=Flowing(3))
    run = reading.run(model, BATCH)
    asked = reading.ask(model, BATCH)
    assert len(asked.slots) == 18
    assert asked.view.step.tolist() == [step for step in range(3) for _ in range(6)]
    again = model.run(asked.canvas).float()
    again[..., MASK] = -torch.inf
    answer = BATCH.positions["answer"][:, 0]
    sure = again.softmax(-1).amax(-1).view(3, 6, -1)
    for step in range(3):
        told = run.confidence[torch.arange(6), step, answer]
        assert torch.allclose(sure[step, torch.arange(6), answer], told, atol=1e-5)
    corrupt = reading.ask(model, BATCH, "corrupt", asked.view)
    assert torch.equal(corrupt.canvas.soft.z, asked.canvas.soft.z)
    assert not torch.allclose(model.run(corrupt.canvas), model.run(asked.canvas), atol=1e-4)


# Traces

PROMPT = BATCH.clean[:2, :8]


def test_the_step_axis_carries_both_times():
    live = probe.record(FLOW, PROMPT, ["resid_post", "logits"], decode={"length": 3, "steps": 4})
    assert live.tau.dims == live.t.dims == ("step",)
    assert live.tau.values.tolist() == [0, 0.25, 0.5, 0.75]
    assert np.allclose(live.t, time_of(live.tau.values.tolist(), len(WORDS) - 1))
    assert (live.place_tau[:, :, :8] == 1).all()
    assert np.allclose(live.place_tau[0, :, 8:], live.tau.values[:, None])


def test_a_run_replayed_is_the_run_recorded_as_it_was_made(tmp_path):
    decode = {"length": 3, "sampler": Flowing(3, keep=True), "seed": 5}
    live = probe.record(FLOW, PROMPT, ["resid_post", "pattern"], decode=decode, store=tmp_path / "live.zarr")
    run = probe.decode(FLOW, PROMPT, 3, sampler=Flowing(3, keep=True), seed=5)
    replayed = probe.record(FLOW, run, ["resid_post", "pattern"], steps=[0, 2])
    assert replayed.tau.values.tolist() == pytest.approx([0, 2 / 3])
    for site in ("resid_post", "pattern"):
        assert np.allclose(live[site].isel(step=[0, 2]), replayed[site], atol=1e-5)
    with pytest.raises(ProbeError, match="keep=True"):
        probe.record(FLOW, probe.decode(FLOW, PROMPT, 3, steps=2), ["resid_post"])


def test_every_site_of_a_flow_records_under_noise():
    from probe.tracing.sites import SITES

    trace = probe.record(FLOW, BATCH, list(SITES), reading=Noise(tau=0.5, draws=2))
    assert set(SITES) <= set(trace.data_vars)
    assert np.allclose(trace.tau, 0.5)
    assert trace.tau.dims == ("example",)
    canvas = Noise(tau=0.5, draws=2).ask(FLOW, BATCH).canvas
    assert np.allclose(trace.logits, FLOW.run(canvas), atol=1e-4)
    entered = FLOW.paradigm.shown(FLOW, canvas)["inputs_embeds"]
    assert np.allclose(trace.embed, entered, atol=1e-5)


def test_nnsight_sees_the_same_and_the_bridge_refuses():
    reading, sites = Noise(tau=0.5, draws=1), ["embed", "resid_post", "logits"]
    ours = probe.record(FLOW, BATCH, sites, reading=reading)
    theirs = probe.record(FLOW, BATCH, sites, reading=reading, tracer="nnsight")
    for site in sites:
        assert np.allclose(ours[site], theirs[site], atol=1e-4)
    with pytest.raises(ProbeError, match="the bridge embeds itself"):
        probe.record(FLOW, BATCH, sites, reading=reading, tracer="transformer_lens")


def test_a_map_is_told_where_it_goes():
    from probe.paradigms.time_embedding import TimeEmbedding

    model = model_of("llama-gqa", FlowMap(mask_id=47))
    for name in ("time", "until"):
        model.attachments[name] = TimeEmbedding.beside(model)
        torch.nn.init.normal_(model.attachments[name].write.weight, generator=torch.Generator().manual_seed(0))
    canvas = model.canvas(torch.tensor([[3, 47, 5]]))
    nearer = replace(canvas, soft=replace(canvas.soft, until=torch.full((1, 3), 0.5)))
    with torch.no_grad():
        assert not torch.allclose(model.run(canvas), model.run(nearer), atol=1e-3)
