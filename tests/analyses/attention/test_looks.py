"""Where heads look from the answering slot: sums of the recorded pattern at the named places."""

from __future__ import annotations

import pytest

import probe
from analyses import attention


@pytest.fixture(scope="module")
def pair():
    return probe.load_pair("zoo:masked", controls=False)


@pytest.fixture(scope="module")
def batch(pair):
    return probe.task("ioi").batch(pair, 8)


def test_it_is_the_pattern_at_that_place(pair, batch):
    table = attention.looks(pair, batch, ["indirect_object"]).table
    pattern = probe.record(pair.diffusion, batch, ["pattern"], reading="prefix").pattern.values
    slot, there = int(batch.positions["answer"][0, 0]) - 1, batch.positions["indirect_object"][:, 0].tolist()
    by_hand = sum(pattern[row, 1, 2, slot, key] for row, key in enumerate(there)) / len(batch)
    row = table[(table["role"] == "diffusion") & (table["layer"] == 1) & (table["head"] == 2)]
    assert row["estimate"].item() == pytest.approx(by_hand, abs=1e-5)


def test_places_that_are_padded_count_once(pair):
    """Sudoku's clues differ in number, and are padded by repeating the last: no share can be over 1."""
    batch = probe.task("sudoku").examples(pair, 8, fewer=True)
    assert attention.looks(pair.ar, batch, ["clues"], reading="ar").table["estimate"].max() <= 1 + 1e-5


def test_an_unknown_place_is_refused_by_name(pair, batch):
    with pytest.raises(probe.ProbeError, match="indirect_object"):
        attention.looks(pair, batch, ["indirect_objekt"])


def test_the_highest_head_of_any_role_is_found(pair, batch):
    """Rows of later roles do not begin at 0."""
    found = attention.heads(pair, batch, reading="prefix")
    best = attention.highest(found, "previous", role="diffusion")
    table = found.table[found.table["role"] == "diffusion"]
    assert best["previous"] == table["previous"].max()
    assert best["role"] == "diffusion"
