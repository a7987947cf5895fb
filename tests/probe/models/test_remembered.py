"""Self-tests run once for the same files: what they found is kept by the hash of all that they look at."""

from __future__ import annotations

import json
import shutil

import pytest

import probe
from probe.errors import SelfTestError
from probe.models import loading
from probe.models.selftests import remembered
from tests.probe.tiny import backbone_of, write_stock


@pytest.fixture
def ran(monkeypatch, tmp_path):
    """The self-tests that were run, with a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(loading, "remembered", remembered.remembered)
    right, runs = loading.run_selftests, []
    monkeypatch.setattr(loading, "run_selftests", lambda model, **how: runs.append(model.name) or right(model, **how))
    return runs


@pytest.fixture
def folder(tmp_path):
    return write_stock(tmp_path / "model", backbone_of("llama"))


def test_the_same_files_are_tested_once(ran, folder, tmp_path):
    first = probe.load(folder, tokenizer=False)
    elsewhere = shutil.copytree(folder, tmp_path / "copy")
    again = probe.load(elsewhere, tokenizer=False)
    assert len(ran) == 1
    assert again.selftests == first.selftests
    assert first.selftests.findings


@pytest.mark.parametrize("how", [{"dtype": "float64"}, {"paradigm": "masked", "mask_id": 3}, {"shift": False}])
def test_another_declaration_is_tested_anew(ran, folder, how):
    probe.load(folder, tokenizer=False)
    try:
        probe.load(folder, tokenizer=False, **how)
    finally:
        assert len(ran) == 2


def test_other_weights_are_tested_anew(ran, folder):
    probe.load(folder, tokenizer=False)
    probe.load(write_stock(folder, backbone_of("llama", seed=1)), tokenizer=False)
    assert len(ran) == 2


def test_a_failure_is_never_remembered(ran, folder):
    config = json.loads((folder / "config.json").read_text())
    for _ in range(2):
        with pytest.raises(SelfTestError, match="mask token"):
            probe.load(folder, tokenizer=False, paradigm="masked", mask_id=config["vocab_size"] + 7)
    assert len(ran) == 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"findings": []}', '{"findings": [["shift", "", "", "fail"]]}'])
def test_a_spoilt_memory_is_no_memory(ran, folder, tmp_path, content):
    probe.load(folder, tokenizer=False)
    (file,) = (tmp_path / "cache" / "twinprobe" / "selftests").iterdir()
    file.write_text(content)
    probe.load(folder, tokenizer=False)
    assert len(ran) == 2


def test_a_cache_that_cannot_be_written_loads_all_the_same(ran, folder, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder would be")
    assert probe.load(folder, tokenizer=False).selftests.findings


def test_all_anew_when_asked(ran, folder, monkeypatch):
    monkeypatch.setenv(remembered.SWITCH, remembered.ANEW)
    probe.load(folder, tokenizer=False)
    probe.load(folder, tokenizer=False)
    assert len(ran) == 2
