"""Scores of latents add up to what the metric changes by, and fall on the words that a planted model answers with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import probe
from analyses import features
from analyses.circuits.attribution.metrics import logit_difference
from analyses.circuits.attribution.prompts import PromptPairs
from analyses.features.attribution import scores
from analyses.features.recording import SITE, places
from probe.errors import ProbeError
from probe.paradigms import Masked
from probe.readings import named
from tests.analyses.features.planted_states import by_hand, coordinates, planted
from tests.analyses.features.words import batch, model, words
from tests.probe.tiny import MASK, model_of


def test_the_planted_words_have_it_all():
    table = features.attribute(words(), model(), batch(), top=3).table.set_index("node")
    assert {"f0", "f1", "f2"} < set(table.index)  # the words that are answers
    assert (table.loc[["f0", "f1", "f2"], "high"] < 0).all()  # each helps where it is the answer
    total = table.loc[["f0", "f1", "f2"], "estimate"].sum()
    assert abs(table.loc["error", "estimate"]) < 0.03 * abs(total)  # of the coordinate that balances, no latent
    assert abs(table.loc["all other features", "estimate"]) < 1e-3 * abs(total)


def test_scores_add_up_to_the_change_of_the_metric():
    twin = model_of("llama-gqa", paradigm=Masked(mask_id=MASK, shift=True), seed=1)
    asked, reading, where = batch(8), named("prefix"), places(batch(8))
    found = scores(coordinates(0.9), twin, asked, reading, logit_difference, 60)
    pairs = PromptPairs.of(twin, asked, reading)
    corrupt = probe.record(twin, pairs.canvas("corrupt"), [SITE], layers=[0], positions=where)
    value = torch.from_numpy(corrupt[SITE].values)[:, 0]
    with torch.no_grad():
        before = logit_difference(pairs.answer_logits(twin.run_trunk(pairs.canvas())), pairs.truth)
        with probe.edit(twin, probe.patch(SITE, value, layer=0, position=where)):
            after = logit_difference(pairs.answer_logits(twin.run_trunk(pairs.canvas())), pairs.truth)
    change = (after - before).numpy()
    assert np.abs(change).max() > 0.01
    assert found.sum(1) == pytest.approx(change, abs=0.02 * float(np.abs(change).max()))
    assert np.abs(found[:, -1]).max() > 0  # a tenth of each state is left to the error


def test_a_crosscoder_and_no_steps_are_refused():
    with pytest.raises(ProbeError, match="one of ar, diffusion"):
        features.attribute(by_hand(planted(1).truth), model(), batch())
    with pytest.raises(ProbeError, match="at least one step"):
        features.attribute(words(), model(), batch(), steps=0)
