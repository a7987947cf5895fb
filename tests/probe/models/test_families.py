"""Every family is the stock class by each way of looking at it; and a family can come from another package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import probe
from probe.models.catalog import entries
from probe.models.families import NOTHING, families
from probe.models.layout import LAYOUTS
from tests.probe.models.closeness import CLOSE, closeness
from tests.probe.tiny import VARIANTS, backbone_of, stock_logits, tokens_of, write_stock

FAMILIES = {layout.model_type: layout.family for layout in LAYOUTS.values()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_model_is_its_stock_class_inside_and_out(variant):
    assert all(apart < CLOSE for apart in closeness(variant).values()), closeness(variant)


def test_every_family_says_what_it_is_and_what_it_was_checked_against():
    known = families()
    assert len(known) >= 25
    assert len({family.name for family in known}) == len(known)
    assert all(family.checked not in ("", NOTHING) for family in known)
    assert all(FAMILIES.values())


def test_every_shipped_row_says_where_its_facts_were_looked_up():
    assert all(row.checked for row in entries())


PACKAGE = """
from dataclasses import replace

from probe.models.formats import Format
from probe.models.layout import LAYOUTS

LAYOUT = replace(LAYOUTS["llama"], model_type="stablelm", causal_lm="StableLmForCausalLM", family="StableLM",
                 takes=("partial_rotary_factor",))
FORMAT = Format(name="mine", model_type="my-stablelm", stock="stablelm", keys={r"^net\\.": "model."}, family="Mine")
"""
ENTRIES = """
[twinprobe.layouts]
stablelm = my_family:LAYOUT

[twinprobe.formats]
mine = my_family:FORMAT
"""
ROW = "- {name: somebody/my-model, paradigm: masked, mask_id: 47, shift: false, format: mine}"


@pytest.fixture
def from_outside(tmp_path, monkeypatch) -> Path:
    """An installed package with an architecture and a format of its own, and a catalog with a row of it."""
    info = tmp_path / "my_family-1.0.dist-info"
    info.mkdir()
    (tmp_path / "my_family.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Name: my-family\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    (tmp_path / "rows.yaml").write_text(ROW)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "rows.yaml"


def test_a_family_from_another_package_loads_is_listed_and_is_declared_by_a_row(from_outside, tmp_path):
    """A layout and a format by entry points, a catalog's row by an argument."""
    backbone = backbone_of("stablelm")
    folder = write_stock(tmp_path / "anywhere", backbone)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "my-stablelm"}))
    model = probe.load(folder, tokenizer=False, catalog=from_outside, selftest="full")
    assert (model.paradigm.name, model.mask_id, model.shift) == ("masked", 47, False)
    tokens = tokens_of(2, 9)
    everywhere = torch.ones(2, 9, 9, dtype=torch.bool)
    torch.testing.assert_close(model.logits(tokens), stock_logits(backbone, tokens, everywhere), atol=CLOSE, rtol=0)
    listed = {family.name: family for family in families()}
    assert listed["Mine"].stock == "StableLmForCausalLM"
    assert listed["StableLM"].checked == NOTHING
