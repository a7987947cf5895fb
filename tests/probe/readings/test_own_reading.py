"""docs/how_to/add_a_reading.md, run: a reading that a package declares."""

from __future__ import annotations

import pytest
import torch

import probe
from probe.errors import ProbeError
from probe.jobs import parse_spec
from probe.readings import READINGS, named
from tests import how_to

PAGE = "add_a_reading.md"


def test_a_reading_of_ones_own_is_found_by_its_name_and_asks_like_any_other(tmp_path, monkeypatch):
    own = list(READINGS)
    how_to.install(PAGE, tmp_path, monkeypatch)
    assert list(READINGS) == [*own, "near"]
    made = how_to.used(PAGE)
    assert len(made["logits"]) == 8
    assert made["circuit"].about.reading == "near(reach=4)"

    pair, batch = made["pair"], made["batch"]
    shown = made["reading"].canvas(pair.diffusion, batch).tokens
    away = (torch.arange(shown.shape[1]) - batch.positions["answer"]).abs()
    assert torch.equal(shown == pair.diffusion.mask_id, (away == 0) | (away > 8))
    spec = parse_spec("pairs: [zoo:masked]\ntasks: [ioi]\nreadings: [{reading: near, reach: 2}]\nmeasures: [cosine]\n")
    assert spec.readings[0].made() == named("near", reach=2)


def test_an_entry_that_cannot_be_a_reading_is_named(tmp_path, monkeypatch):
    how_to.install(PAGE, tmp_path, monkeypatch)
    next(tmp_path.glob("*.dist-info/entry_points.txt")).write_text("[twinprobe.readings]\nother = near:torch\n")
    with pytest.raises(ProbeError, match=r"a subclass of probe\.readings\.Reading"):
        named("other")
    with pytest.raises(ProbeError, match="one of ar, prefix"):
        probe.readings.named("neer")
