"""One batch asked in several ways: the rows agree with the readings and edits that they name."""

from __future__ import annotations

import pytest
import torch

import probe
from analyses import answers


@pytest.fixture(scope="module")
def pair():
    return probe.load_pair("zoo:masked", controls=False)


@pytest.fixture(scope="module")
def batch(pair):
    return probe.task("ioi").batch(pair, 8)


def test_a_row_says_what_its_reading_says(pair, batch):
    table = answers.asked(pair, batch, ["prefix", "one_mask"]).table
    assert list(dict.fromkeys(zip(table["role"], table["reading"], strict=True))) == [
        ("ar", "ar"),  # once: it knows no other
        ("diffusion", "prefix"),
        ("diffusion", "one_mask"),
    ]
    logits = probe.readings.comparable(
        probe.readings.named("prefix").logits(pair.diffusion, batch), pair.diffusion, pair.vocabulary
    )
    nats = -logits.log_softmax(-1).gather(1, batch.target[:, None]).mean()
    row = table[(table["reading"] == "prefix") & (table["measure"] == "nats")].iloc[0]
    assert row["estimate"] == pytest.approx(float(nats), rel=1e-5)
    assert set(table.loc[table["measure"] == "right", "estimate"]) == {1.0}  # a batch holds what both answer


def test_an_edit_is_in_its_own_row_alone(pair, batch):
    edits = {"whole": [], "no first layer": [probe.skip(0)], "whole again": []}
    table = answers.asked(pair.ar, batch, ["ar"], edits=edits).table
    nats = table[table["measure"] == "nats"].set_index("edit")["estimate"]
    assert nats["whole"] == nats["whole again"]
    assert nats["no first layer"] > nats["whole"] + 0.1


def test_draws_of_an_example_count_as_one(pair, batch):
    reading = probe.readings.named("ratio", draws=3)
    table = answers.asked(pair.diffusion, batch, [reading]).table
    assert set(table["n"]) == {len(batch)}
    assert set(table["reading"]) == {"ratio(draws=3)"}  # the knobs that were turned, and no others
    prompts = reading.ask(pair.diffusion, batch)
    with torch.no_grad():
        best = probe.readings.answers(pair.diffusion, prompts).argmax(-1)
    right = (best == batch.target[prompts.view.example]).float().mean()  # each has as many draws
    assert table.loc[table["measure"] == "right", "estimate"].item() == pytest.approx(float(right))
