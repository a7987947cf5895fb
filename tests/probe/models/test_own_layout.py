"""docs/how_to/add_an_architecture.md, run: an architecture that a package declares."""

from __future__ import annotations

import pytest
from transformers import Starcoder2Config, Starcoder2ForCausalLM

import probe
from probe.errors import ProbeError
from probe.models.formats import ADDED
from probe.tasks import vocabulary
from tests import how_to

PAGE = "add_an_architecture.md"


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A tiny random checkpoint of the page's architecture, in the folder that the page names."""
    words = vocabulary.shipped()
    config = Starcoder2Config(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.5,
        sliding_window=None,
        bos_token_id=None,
        eos_token_id=None,
    )
    folder = tmp_path / "my-starcoder"
    Starcoder2ForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_an_architecture_of_ones_own_is_recorded_and_studied_like_any_other(checkpoint, tmp_path, monkeypatch):
    how_to.install(PAGE, tmp_path, monkeypatch)
    made = how_to.used(PAGE)
    assert {"wiring", "attention reach", "kernels", "rotary"} <= {
        finding.test for finding in made["model"].selftests.findings if finding.outcome == "pass"
    }
    assert made["trace"]["mlp_hidden"].sizes["layer"] == 2
    assert len(made["circuit"].edges)
    assert ADDED["mine"].stock_key("net.embed_tokens.weight") == "model.embed_tokens.weight"


def test_without_its_layout_the_error_says_how_to_add_one(checkpoint):
    with pytest.raises(ProbeError, match="add_an_architecture"):
        probe.load(checkpoint)
