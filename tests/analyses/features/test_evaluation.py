"""What a perfect dictionary leaves and costs (nothing), what an empty one does (all), and what lies between."""

from __future__ import annotations

import pytest
import torch

from analyses import features
from analyses.features.evaluation import DEAD, FROM_MEAN, FROM_ZERO, L0, UNEXPLAINED
from probe.errors import ProbeError
from probe.pairs import Pair
from probe.paradigms import Masked
from tests.analyses.features.planted_states import by_hand, coordinates, planted
from tests.analyses.planted import batch_of
from tests.probe.tiny import MASK, model_of

D = 32


def batch(n: int = 24):
    clean = torch.randint(0, 40, (n, 8), generator=torch.Generator().manual_seed(0))
    corrupt = clean.clone()
    corrupt[:, 2] += 1
    return batch_of(clean, corrupt, 6, clean[:, 6] + 1)


@pytest.fixture(scope="module")
def pair():
    twin = model_of("llama-gqa", paradigm=Masked(mask_id=MASK, shift=True), seed=1)
    return Pair(model_of("llama-gqa"), twin)


def measured(table, role: str = "model"):
    return table[table["role"] == role].set_index("measure")["estimate"]


def test_a_perfect_dictionary_leaves_and_costs_nothing(pair):
    table = features.evaluate(coordinates(1.0), pair.ar, batch()).table
    found = measured(table)
    assert found[UNEXPLAINED] == pytest.approx(0, abs=1e-9)
    assert found[FROM_ZERO] == pytest.approx(1, abs=1e-4)
    assert table.set_index("measure").loc[L0, "estimate"] == pytest.approx(D, abs=0.5)
    assert table.set_index("measure").loc[DEAD, "estimate"] == 0


def test_an_empty_one_is_the_ablation_itself(pair):
    found = measured(features.evaluate(coordinates(0.0), pair.diffusion, batch()).table)
    assert found[FROM_ZERO] == pytest.approx(0, abs=1e-6)
    assert found[UNEXPLAINED] > 1  # no state at all is further off than the mean state


def test_half_a_state_leaves_a_quarter_of_its_square(pair):
    found = measured(features.evaluate(coordinates(0.5), pair.ar, batch()).table)
    whole = measured(features.evaluate(coordinates(0.0), pair.ar, batch()).table)
    assert found[UNEXPLAINED] == pytest.approx(whole[UNEXPLAINED] / 4, rel=1e-4)


def test_a_crosscoder_is_asked_of_each_of_its_models(pair):
    table = features.evaluate(coordinates(1.0, ("ar", "diffusion")), pair, batch()).table
    for role in ("ar", "diffusion"):
        assert measured(table, role)[FROM_ZERO] == pytest.approx(1, abs=1e-4)
        assert FROM_MEAN in measured(table, role)
    assert set(table["unit"]) == {"share of variance", "share of loss", "latents", "share of latents"}


def test_a_crosscoder_cannot_be_asked_of_one_model(pair):
    with pytest.raises(ProbeError, match="one of ar, diffusion"):
        features.evaluate(by_hand(planted(1).truth), pair.ar, batch())
