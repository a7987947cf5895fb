"""Features in the places of neurons: selectivity, steering, and who tells answers better."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import probe
from analyses import features, steering
from analyses.features.held_out_units import COORDINATES, FEATURES, NEURONS, held_out, told_by
from analyses.steering.dose import BEYOND
from probe.errors import ProbeError
from tests.analyses.features.words import batch, model, words
from tests.analyses.planted import WORDS


def test_latents_are_read_where_the_answer_is():
    latents = features.activations(words(), model(), batch())
    assert latents.shape == (96, 1, WORDS)
    others = np.delete(latents[:, 0], 7, axis=1)
    assert (others.argmax(1) == batch().target.numpy()).all()


def test_features_are_selective_as_neurons_are():
    table = features.selectivity(words(), model(), batch()).table.set_index("measure")
    assert table.loc["mean selectivity", "estimate"] > 3 * table.loc["mean selectivity", "null"]
    assert 3 / WORDS <= table.loc["share selective", "estimate"] < 1  # three words are answers
    assert (table["layer"] == 0).all()


def test_a_feature_steers_other_examples_towards_its_answer():
    towards = features.toward(words(), model(), batch(seed=5), token=1)
    assert torch.nn.functional.cosine_similarity(towards, words().direction(1), dim=0) > 0.999
    with probe.edit(model(), []):
        found = steering.dose(model(), batch(), layer=0, doses=[1.0], directions={"model": toward_most_common()})
    row = found.table.set_index("measure").loc[BEYOND]
    assert row["low"] > 0


def toward_most_common() -> torch.Tensor:
    token = int(batch().target.mode().values)
    return features.toward(words(), model(), batch(seed=5), token=token)


def test_features_that_are_the_words_tell_better_than_neurons_that_do_nothing():
    table = features.rivals(words(), model(), batch()).table.set_index("units")
    assert table.loc[FEATURES, "estimate"] == pytest.approx(1)
    assert table.loc[f"{FEATURES} − {NEURONS}", "low"] > 0
    assert {"role", "unit", "q"} < set(table.columns)
    assert COORDINATES in table.index
    assert table.loc[NEURONS, "estimate"] == pytest.approx(0, abs=1e-9)  # none does anything


def test_one_unit_a_case_tells_better_than_two_that_mean_all_of_them():
    generator = np.random.default_rng(0)
    case = generator.integers(0, 6, 192)
    mixed = generator.normal(size=(6, 2))[case] + 0.1 * generator.normal(size=(192, 2))
    units = {FEATURES: np.eye(6)[case] + 0.1 * generator.normal(size=(192, 6)), NEURONS: mixed}
    rows = {row["units"]: row for row in told_by(units, np.eye(6)[case])}
    assert rows[FEATURES]["estimate"] > 0.99
    assert rows[f"{FEATURES} − {NEURONS}"]["low"] > 0.05


def test_the_best_of_many_units_of_noise_tells_nothing_of_other_examples():
    generator = np.random.default_rng(0)
    cases = np.eye(3)[generator.integers(0, 3, 160)]
    units = {name: generator.normal(size=(160, 300)) for name in (FEATURES, NEURONS)}
    rows = {row["units"]: row for row in told_by(units, cases)}
    assert all(row["low"] < 0 < row["high"] for row in rows.values())
    assert rows[f"{FEATURES} − {NEURONS}"]["p"] > 0.05


def test_a_unit_that_tells_by_falling_silent_counts_as_well():
    cases = np.eye(2)[np.arange(64) % 2]
    assert held_out(-cases[:, :1], cases)[0] == pytest.approx(1)


def test_an_answer_that_nobody_or_everybody_has_is_refused():
    with pytest.raises(ProbeError, match="with and without that answer"):
        features.toward(words(), model(), batch(), token=5)
