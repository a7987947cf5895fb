"""Steering where the direction that answers is planted, where nobody reads, and where the answer is already written."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from analyses import steering
from analyses.activations.answer_states import answer_states
from analyses.steering.directions import directions
from analyses.steering.dose import _log_p
from probe.errors import ProbeError
from probe.paradigms import Masked
from probe.paradigms.sampler import Sampler
from probe.readings import named
from tests.analyses.planted import WORDS, batch_of, relay
from tests.probe.tiny import MASK, model_of, tokens_of

BEYOND = "measure == 'beyond random directions'"


@pytest.fixture(scope="module")
def planted():
    """Answers are in the stream behind layer 1; layers 2 to 4 do nothing."""
    return relay(n_layers=5, first=0, n=64)


def test_the_direction_is_the_planted_one(planted):
    """Behind the layer that concludes, examples with an answer differ from the rest along its own coordinate."""
    states = answer_states(planted.model, planted.batch, ("resid_pre",), reading="ar")
    found = directions(states, 2)
    unembed = planted.model.backbone.lm_head.weight[:WORDS]
    for vector in found.vectors:
        assert int((unembed @ vector).argmax()) == found.toward


def test_a_push_along_what_answers_moves_the_answer_and_more_the_harder(planted):
    table = steering.dose(planted.model, planted.batch, layer=2, reading="ar", doses=[0.5, 1.0, 2.0]).table
    rows = table.query(BEYOND)
    assert (rows["low"] > 0).all()
    assert (rows["p"] < 0.05).all()
    assert rows["estimate"].is_monotonic_increasing


def test_a_push_along_what_nobody_reads_moves_nothing(planted):
    """The place of slot 0 is read by the queries of the first two layers alone."""
    dead = torch.zeros(planted.model.d_model)
    dead[WORDS + 1], dead[-1] = 5.0, -5.0
    table = steering.dose(planted.model, planted.batch, layer=2, reading="ar", directions={"model": dead}).table
    steered = table.query("measure == 'towards the answer'")
    assert steered["estimate"].abs().max() < 1e-5
    assert not (table.query(BEYOND)["low"] > 0).any()


def run_of(n: int = 24):
    """A model that writes three tokens from left to right, and is asked for the first of them."""
    model = model_of("llama-gqa", Masked(mask_id=MASK, shift=False))
    clean = tokens_of(n, 7, seed=3)
    clean[:, 4] = torch.arange(n) % 3 // 2 + 5  # two answers
    corrupt = clean.clone()
    corrupt[:, 1] = (corrupt[:, 1] + 1) % MASK
    batch = batch_of(clean, corrupt, 4, (clean[:, 4] + 1) % MASK)
    places = torch.tensor([[4, 5, 6]]).expand(n, -1)
    return model, replace(batch, positions={**batch.positions, "completion": places})


def test_an_answer_that_is_written_first_commits_first():
    """Pushed hard along its unembedding, it turns; pushed from the next step on, it stands, in every example."""
    model, batch = run_of()
    toward = int(batch.target.mode().values)
    push = model.backbone.lm_head.weight[toward].detach() * 20
    rule = Sampler("left_to_right")
    table = steering.commitment(model, batch, layer=0, directions={"model": push}, sampler=rule).table
    turned = table.query("measure == 'towards the answer'").set_index("from_step")["estimate"]
    assert turned[0] > 0.5
    assert (turned[1:] == 0).all()
    written = table.query("measure == 'written by then'").set_index("from_step")["estimate"]
    assert written.tolist() == [0, 1, 1, 1]


def test_each_step_of_a_run_has_its_own_effect():
    model, batch = run_of()
    push = model.backbone.lm_head.weight[5].detach()
    how = named("trajectory", sampler=Sampler("confidence"), seed=0)
    result = steering.dose(model, batch, layer=0, reading=how, doses=[2.0], directions={"model": push}, draws=1)
    assert set(result.table["step"]) >= {0, 1}
    assert result.figure().data


@pytest.mark.parametrize("variant", ["gemma2", "modernbert"])
def test_a_push_of_nothing_leaves_the_model_s_own_belief_behind_caps_and_heads(variant):
    model, batch = model_of(variant, Masked(mask_id=MASK)), run_of()[1]
    states = answer_states(model, batch, ["resid_post"])
    prompts = states.reading.ask(model, batch)
    found = _log_p(states, prompts, 5, 0, torch.zeros(len(batch), model.d_model))
    with torch.no_grad():
        expected = states.reading.logits(model, batch)[:, :MASK].log_softmax(-1)[:, 5]
    torch.testing.assert_close(found[:, 0] if found.dim() > 1 else found, expected, atol=1e-5, rtol=0)


def test_a_direction_needs_examples_of_both_kinds(planted):
    with pytest.raises(ProbeError, match="at least 2 examples"):
        steering.dose(planted.model, planted.batch[:6], layer=2, reading="ar")
    with pytest.raises(ProbeError, match="finite numbers"):
        steering.dose(planted.model, planted.batch, layer=2, reading="ar", directions={"model": torch.ones(3)})
    with pytest.raises(ProbeError, match="from 0 to 3"):
        steering.dose(planted.model, planted.batch, layer=4, reading="ar")
