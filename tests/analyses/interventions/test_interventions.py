"""Interventions: what lies outside the cone does not move, and the effect is that of the edit."""

from __future__ import annotations

import numpy as np
import pytest

import probe
from analyses import interventions, lens


@pytest.fixture(scope="module")
def pair():
    return probe.load_pair("zoo:masked", controls=False, selftest="off")


@pytest.fixture(scope="module")
def batch(pair):
    return probe.task("ioi").examples(pair, 6, fewer=True)


@pytest.mark.parametrize(("role", "left"), [("ar", False), ("diffusion", True)])
def test_only_cells_within_the_cone_move_and_the_cone_is_that_of_the_attention(pair, batch, role, left):
    model, slot, layer = pair.models[role], 5, 2
    zeroed = probe.zero("resid_post", layer=layer, position=[slot])
    view = lens.before_and_after(model, batch, 0, [zeroed], cell=(layer + 1, slot), beside=lens.Beside(pair.ar)).data
    assert view["drawn"] == [0, 1]
    reached = np.array(view["cone"][0], bool)
    (answer, *_), (before, after) = view["pins"], view["difference"]
    one, two = (np.array(view["pins"][answer][at][0]) for at in (before, after))
    moved = np.abs(two - one) > 1e-6
    assert moved.any()
    assert not (moved & ~reached).any()
    assert reached[layer + 1].nonzero()[0].tolist() == [slot]
    assert reached[layer + 2, :slot].all() == left
    assert reached[layer + 2, slot:].all()


def test_the_effect_is_what_the_edited_model_answers(pair, batch):
    zeroed = probe.zero("resid_post", layer=0)
    found = interventions.effect(pair.diffusion, batch, [zeroed]).table.set_index(["measure", "when"])["estimate"]
    how = probe.readings.named("prefix")
    rows = np.arange(len(batch))
    with probe.edit(pair.diffusion, [zeroed]):
        logits = how.logits(pair.diffusion, batch).cpu().numpy()
    margins = logits[rows, batch.target] - logits[rows, batch.distractor]
    assert found["margin", "after"] == pytest.approx(margins.mean(), rel=1e-4)
    assert found["margin", "after − before"] == pytest.approx(found["margin", "after"] - found["margin", "before"])
    assert found["answered right", "after"] == (logits.argmax(-1) == batch.target.numpy()).mean()
    assert found["answered right", "before"] > found["answered right", "after"]
