"""The lens grid agrees with the lens results, cell by cell."""

from __future__ import annotations

import json

import pytest
import torch

import probe
from analyses import lens
from analyses.activations.answer_states import answer_states
from analyses.lens.unembedding import Unembedding


@pytest.fixture(scope="module")
def pair():
    return probe.load_pair("zoo:masked", selftest="off")


@pytest.mark.parametrize("reading", ["prefix", "trajectory"])
def test_the_cell_where_the_answer_is_read_is_what_the_lens_says(pair, reading):
    batch = probe.task("ioi").examples(pair, 2, seed=3, fewer=True)
    view = json.loads(lens.grid(pair, batch, 1, reading=reading).json())
    states = answer_states(pair, batch[1:2], reading=reading)
    assert [model["role"] for model in view["models"]] == ["ar", "diffusion"]
    for which, model in enumerate(view["models"]):
        one = states[model["role"]]
        out = Unembedding.of(one)
        chances = [
            *out.log_probabilities(one.at("resid_pre")).exp().unbind(1),
            out.logits(one.at("final_norm")).softmax(-1),
        ]
        for step, now in enumerate(model["steps"]):
            for layer, of_layer in enumerate(chances):
                share, token = of_layer[step].max(-1)
                code, found = now["cells"][layer][now["read"]][0]
                assert view["ids"][code] == int(token)
                assert found == pytest.approx(float(share), abs=1e-4)
                answer = next(code for code, name in view["names"].items() if name == "answer")
                kept = view["pins"][answer][which][step][layer][now["read"]]
                assert kept == pytest.approx(float(of_layer[step, batch.target[1]]), abs=1e-4)


def test_the_tuned_lens_that_changes_nothing_changes_nothing(pair):
    batch = probe.task("ioi").examples(pair, 1, seed=3, fewer=True)
    lenses = {role: lens.TunedLens.identity(pair.models[role]) for role in ("ar", "diffusion")}
    plain, tuned = lens.grid(pair, batch), lens.grid(pair, batch, tuned=lenses)
    assert plain.data["models"] == tuned.data["models"]
    moved = {role: lens.TunedLens(torch.zeros_like(one.weight), one.bias + 1) for role, one in lenses.items()}
    assert plain.data["models"] != lens.grid(pair, batch, tuned=moved).data["models"]
