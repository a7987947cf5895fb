"""Features in the places of neurons: selectivity, steering, and who tells answers better."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import probe
from analyses import features, steering
from analyses.features import Dictionary
from analyses.features.held_out_units import COORDINATES, FEATURES, NEURONS, held_out, told_by
from analyses.steering.dose import BEYOND
from probe.errors import ProbeError
from probe.models.model import Model
from probe.paradigms import Masked
from probe.tasks import Batch
from tests.analyses.planted import MASK, WORDS, balance, batch_of, blank

PLACES, AT, ROTATED = 6, 4, 16


def model() -> Model:
    """Layer 0 copies the first word to where the answer is read, and the unembedding says it; the words' directions are
    no coordinates."""
    backbone = blank(2, 1, 32, WORDS + 1, PLACES)
    turn = torch.linalg.qr(torch.randn(WORDS, WORDS, generator=torch.Generator().manual_seed(0))).Q
    with torch.no_grad():
        trunk = backbone.transformer
        trunk.wte.weight[:WORDS, ROTATED : ROTATED + WORDS] = turn
        trunk.wpe.weight[0, 0] = 30.0
        trunk.wpe.weight[AT - 1, 1] = 1.0
        first = trunk.h[0].attn
        first.c_attn.weight[1, 0] = 30.0  # query: I am where the answer is read
        first.c_attn.weight[0, 32] = 1.0  # key: I am the first
        first.c_attn.weight[ROTATED : ROTATED + WORDS, 64 : 64 + WORDS] = 2 * torch.eye(WORDS)
        first.c_proj.weight[:WORDS, ROTATED : ROTATED + WORDS] = torch.eye(WORDS)
        backbone.lm_head.weight[:WORDS, ROTATED : ROTATED + WORDS] = turn
        balance(backbone)
    return Model(backbone, Masked(mask_id=MASK, shift=True), name="copies")


def batch(n: int = 96, seed: int = 0) -> Batch:
    clean = torch.randint(0, WORDS, (n, PLACES), generator=torch.Generator().manual_seed(seed))
    clean[:, 0] = torch.randint(0, 3, (n,), generator=torch.Generator().manual_seed(seed + 1))
    clean[:, AT - 1] = 7  # where the answer is read, the same word always
    clean[:, AT] = clean[:, 0]
    corrupt = clean.clone()
    corrupt[:, 0] = (clean[:, 0] + 1) % 3
    return batch_of(clean, corrupt, AT, corrupt[:, 0])


def words(k: int = 2) -> Dictionary:
    """Latents are the words."""
    rows = model().backbone.transformer.wte.weight[:WORDS].detach().clone()
    rows[:, :ROTATED] = 0
    rows[:, ROTATED + WORDS :] = 0
    W_enc, about = rows.T[None].contiguous(), {"layer": 0}
    return Dictionary(W_enc, torch.zeros(WORDS), rows[:, None], torch.zeros(1, 32), torch.ones(1), k, about=about)


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
    assert held_out(-cases[:, :1], cases, np.arange(64)) == pytest.approx(1)


def test_an_answer_that_nobody_or_everybody_has_is_refused():
    with pytest.raises(ProbeError, match="with and without that answer"):
        features.toward(words(), model(), batch(), token=5)
