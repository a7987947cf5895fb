"""LoRA adapters beside weights: transformers applies them unasked; here they are not applied, and it is said."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model

import probe
from probe.models.adapters import StrayAdapters
from tests.probe.tiny import backbone_of, stock_logits, tokens_of, write_stock


@pytest.fixture
def folder(tmp_path):
    """A plain checkpoint, with an adapter beside it that changes its logits."""
    where = write_stock(tmp_path / "m", backbone_of("llama"))
    adapted = get_peft_model(backbone_of("llama"), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(where)
    assert (where / "adapter_config.json").is_file()
    return where


def test_they_are_not_applied_and_it_is_said(folder):
    with pytest.warns(StrayAdapters, match="not applied"):
        model = probe.load(folder, tokenizer=False)
    tokens = tokens_of(2, 9)
    torch.testing.assert_close(model.logits(tokens), stock_logits(backbone_of("llama"), tokens), atol=1e-5, rtol=0)
    assert "adapter_config.json" in repr(model)
    assert "not applied" in model.facts["note"]


def test_nothing_is_said_where_there_are_none(tmp_path, recwarn):
    model = probe.load(write_stock(tmp_path / "m", backbone_of("llama")), tokenizer=False)
    assert not [warning for warning in recwarn if issubclass(warning.category, StrayAdapters)]
    assert model.notes == ()
