"""What a loaded model is, beyond its logits."""

from __future__ import annotations

import pytest
import torch

import probe
from probe.models.layout import LAYOUTS
from probe.paradigms import Masked
from tests.probe.tiny import MASK, VARIANTS, backbone_of, model_of, tokens_of, write_stock


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_layout_names_every_part(variant):
    model = model_of(variant)
    layout = model.layout
    for name in ("trunk", "embed", "final_norm", "unembed"):
        assert layout.part(model.backbone, name) is not None
    assert len(model.blocks) == model.n_layers == 2
    inside = ("attention", "query", "key", "value", "output", "mlp")
    reads_and_writes = ("attention_read", "attention_write", "mlp_read", "mlp_write")
    norms = ("attention_norm", "attention_post_norm", "mlp_norm", "mlp_post_norm")
    there = [name for name in (*norms, "mlp_up", "mlp_gate", "mlp_down") if getattr(layout, name) is not None]
    for block in model.blocks:
        assert all(layout.of_block(block, name) is not None for name in (*inside, *reads_and_writes, *there))
        assert (layout.of_block(block, "query") is layout.of_block(block, "key")) == layout.fused
    assert (layout.rotary is None) == (layout.place_embed is not None)
    # Every parameter belongs to a part that has a name.
    named = [layout.part(model.backbone, name) for name in ("embed", "final_norm", "unembed")]
    there = [name for name in ("place_embed", "embed_norm", "head") if getattr(layout, name) is not None]
    named += [layout.part(model.backbone, name) for name in there]
    for block in model.blocks:
        there = [name for name in ("attention", "mlp", *norms) if getattr(layout, name) is not None]
        named += [layout.of_block(block, name) for name in there]
    known = {id(parameter) for part in named for parameter in part.parameters()}
    assert {id(parameter) for parameter in model.backbone.parameters()} == known


def test_every_architecture_has_a_variant_here():
    assert {architecture for architecture, _ in VARIANTS.values()} == set(LAYOUTS)


def test_what_a_model_says_of_itself(tmp_path):
    folder = write_stock(tmp_path / "m", backbone_of("qwen3", head_dim=16))
    model = probe.load(folder, tokenizer=False, paradigm="masked", mask_id=MASK, shift=False)
    assert (model.n_layers, model.n_heads, model.n_kv_heads, model.d_model, model.d_head) == (2, 4, 2, 32, 16)
    assert (model.vocabulary, model.mask_id, model.shift, model.has_tokenizer) == (48, MASK, False, False)
    assert (model.dtype, model.device.type) == (torch.float32, "cuda" if torch.cuda.is_available() else "cpu")
    assert "qwen3, 2 layers × 4 heads, d 32; masked, full attention, no shift; mask 47" in repr(model)
    assert model.published["model_type"] == "qwen3"


@pytest.mark.parametrize("device_map", ["auto", {"": "cpu"}])
def test_a_device_map_spreads_the_weights_and_changes_nothing(device_map, tmp_path):
    folder = write_stock(tmp_path / "m", backbone_of("llama"))
    plain, spread = (probe.load(folder, tokenizer=False, device_map=how) for how in (None, device_map))
    tokens = tokens_of(2, 7)
    torch.testing.assert_close(spread.logits(tokens).cpu(), plain.logits(tokens).cpu(), atol=1e-5, rtol=0)
    assert not spread.selftests.failed


def test_a_call_builds_no_graph_unless_its_inputs_ask_for_one():
    model = model_of(paradigm=Masked(mask_id=MASK))
    canvas = model.canvas(tokens_of(2, 7))
    assert not model.run(canvas).requires_grad
    embedded = model.embedding(canvas.tokens).requires_grad_()
    model.run(canvas, inputs_embeds=embedded).sum().backward()
    assert embedded.grad is not None
    assert all(parameter.grad is None for parameter in model.backbone.parameters())


def test_kernels_may_alternate_on_one_model():
    model = model_of(paradigm=Masked(mask_id=MASK))
    canvas = model.canvas(tokens_of(2, 7))
    first = model.run(canvas)
    torch.testing.assert_close(model.run(canvas, eager=True), first, atol=1e-5, rtol=0)
    assert torch.equal(model.run(canvas), first)


def test_half_precision(tmp_path):
    folder = write_stock(tmp_path / "m", backbone_of("llama"))
    model = probe.load(folder, tokenizer=False, paradigm="masked", mask_id=MASK, dtype="bfloat16")
    assert model.dtype == torch.bfloat16
    assert not model.selftests.failed
    assert torch.isfinite(model.logits(tokens_of(2, 7, masked=0.3))).all()
