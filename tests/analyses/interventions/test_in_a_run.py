"""Edits of some steps of a run: they act at those steps alone, and only what they can reach moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import probe
from analyses import interventions, lens
from analyses.interventions.in_a_run import run
from probe.readings.trajectory import TrajectoryReading, aggregated

SLOT = 9  # of the prompt's last sign


@pytest.fixture(scope="module", params=["zoo:masked", "zoo:fluid"])
def pair(request):
    return probe.load_pair(request.param, controls=False, selftest="off")


@pytest.fixture(scope="module")
def batch(pair):
    return probe.task("countdown").examples(pair, 6, fewer=True)


def zeroed(first: int, last: int):
    return probe.only(probe.zero("resid_post", layer=1, position=[SLOT]), step=slice(first, last + 1))


@pytest.mark.parametrize("role", ["ar", "diffusion"])
def test_the_text_is_the_one_decoded_under_the_edit(pair, batch, role):
    model, reading = pair.models[role], TrajectoryReading()
    start = int(batch.positions["completion"].min())
    with probe.edit(model, [zeroed(1, 2)]):
        alone = probe.decode(model, batch.clean[:, :start], batch.clean.shape[1] - start)
    assert torch.equal(run(model, batch, reading, [zeroed(1, 2)]).trajectory.tokens, alone.tokens)
    without = run(model, batch, reading)
    assert not run(model, batch, reading, [zeroed(99, 99)]).differs(without, batch).any()


def test_the_margin_is_that_of_the_pass_that_wrote_the_answer():
    twins = probe.load_pair("zoo:masked", controls=False, selftest="off")
    asked = probe.task("countdown").examples(twins, 6, fewer=True)
    for model in twins.models.values():
        reading = TrajectoryReading()
        view = reading.view(model, asked)
        logits = aggregated(probe.readings.comparable(reading.logits(model, asked, view=view), model), view, "commit")
        rows = torch.arange(len(asked))
        margin = logits[rows, asked.target] - logits[rows, asked.distractor]
        assert run(model, asked, reading).answers.values[:, 0] == pytest.approx(margin.numpy(), abs=1e-4)


@pytest.mark.parametrize("role", ["ar", "diffusion"])
def test_before_its_steps_nothing_moves_and_at_them_only_what_it_can_reach(pair, batch, role):
    view = lens.before_and_after(
        pair.models[role], batch, 0, [zeroed(1, 2)], reading="trajectory", cell=(2, SLOT), beside=lens.Beside(pair.ar)
    ).data
    assert view["changed_at"] == [1, 2]
    before, after = view["difference"]
    for step, cone in enumerate(view["cone"][: len(view["models"][before]["steps"])]):
        for shares in view["pins"].values():
            one, two = (np.array(shares[at][step]) for at in (before, after))
            moved = np.abs(two - one) > 1e-6
            assert not (moved & ~np.array(cone, bool)[:, : moved.shape[1]]).any()
            assert step != 1 or moved[2, SLOT]
    assert not np.array(view["cone"][0]).any()
    assert all(model["text"] for model in view["models"])


def test_the_effect_counts_the_texts_that_became_others(pair, batch):
    table = interventions.effect(pair.diffusion, batch, [zeroed(0, 0)], reading="trajectory").table
    found = table.set_index(["measure", "when"])["estimate"]
    one, two = (run(pair.diffusion, batch, TrajectoryReading(), edits) for edits in ((), [zeroed(0, 0)]))
    assert found["text changed", "after"] == two.differs(one, batch).mean()
    written = two.trajectory.tokens[torch.arange(len(batch)), batch.positions["answer"][:, 0]]
    right = ((written[:, None] == batch.choices) & batch.right).any(1)
    assert found["answered right", "after"] == pytest.approx(right.float().mean().item())
