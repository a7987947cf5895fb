"""A model's logits are those of the stock class under the same mask, for every architecture, attention and kernel."""

from __future__ import annotations

import pytest
import torch

from probe.models.model import Model
from probe.paradigms import Autoregressive, Block, Fluid, Masked
from probe.paradigms.fluid import insert
from tests.probe.slow_masks import slow_insert, slow_visible
from tests.probe.tiny import MASK, VARIANTS, backbone_of, stock_logits, tokens_of

CLOSE = {"atol": 1e-5, "rtol": 0}
PARADIGMS = {
    "causal": Autoregressive(),
    "full": Masked(mask_id=MASK),
    "block:4": Block(mask_id=MASK, shift=False),
    "masks_last": Masked(mask_id=MASK, shift=False, clean_shift=True, attention="masks_last"),
}


@pytest.fixture(scope="module", params=VARIANTS)
def backbones(request):
    """One to be wrapped, and its equal that is called as transformers calls it."""
    architecture, other = VARIANTS[request.param]
    return backbone_of(architecture, **other), backbone_of(architecture, **other)


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
@pytest.mark.parametrize("attention", PARADIGMS)
def test_logits_are_the_stock_class_s_under_the_same_mask(backbones, attention, kernel):
    ours, stock = backbones
    model = Model(ours, PARADIGMS[attention])
    tokens = tokens_of(3, 13, masked=0.3)
    expected = stock_logits(stock, tokens, slow_visible(attention, tokens, MASK), kernel=kernel)
    found = model.run(model.canvas(tokens), eager=kernel == "eager")
    torch.testing.assert_close(found, expected, **CLOSE)
    if kernel == "sdpa":
        torch.testing.assert_close(model.logits(tokens), expected, **CLOSE)
        torch.testing.assert_close(
            Model(ours, Autoregressive(mask_id=MASK)).logits(tokens, attention), expected, **CLOSE
        )


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_fluid_logits_are_the_stock_class_s_on_the_same_canvas(backbones, kernel):
    ours, stock = backbones
    tokens = tokens_of(3, 9)
    generator = torch.Generator().manual_seed(1)
    anchors = torch.rand(tokens.shape, generator=generator) < 0.4
    lengths = torch.randint(1, 5, tokens.shape, generator=generator)
    model = Model(ours, Fluid(mask_id=MASK))
    found = model.run(insert(tokens, anchors, lengths, MASK), eager=kernel == "eager")
    for row, (shown, places, sees) in enumerate(slow_insert(tokens, anchors, lengths, MASK)):
        how = {"position_ids": torch.tensor([places]), "kernel": kernel}
        expected = stock_logits(stock, torch.tensor([shown]), torch.tensor([sees]), **how)
        torch.testing.assert_close(found[row, : len(shown)], expected[0], **CLOSE)


def test_a_model_is_the_stock_class_left_to_itself(backbones):
    ours, stock = backbones
    tokens, model = tokens_of(3, 13), Model(ours, Autoregressive())
    own = "full" if model.layout.encoder else "causal"
    torch.testing.assert_close(model.logits(tokens, own), stock_logits(stock, tokens), **CLOSE)


def test_the_attentions_really_differ(backbones):
    """Were a backbone to ignore its mask, the tests above would still hold."""
    model = Model(backbones[0], Masked(mask_id=MASK))
    tokens = tokens_of(3, 13, masked=0.3)
    logits = [model.logits(tokens, attention) for attention in PARADIGMS]
    for i, one in enumerate(logits):
        assert all((one - other).abs().max() > 1e-2 for other in logits[:i])


def test_a_mask_of_the_users_own_replaces_the_paradigm_s(backbones):
    ours, stock = backbones
    tokens = tokens_of(2, 8)
    allowed = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(2)) < 0.5
    allowed |= torch.eye(8, dtype=torch.bool)
    expected = stock_logits(stock, tokens, allowed)
    for forbids in (-float("inf"), torch.finfo(torch.float32).min, -1e9):
        mask = torch.where(allowed, 0.0, forbids)[:, None]
        torch.testing.assert_close(Model(ours, Autoregressive()).logits(tokens, mask), expected, **CLOSE)


def test_embeddings_may_be_given_instead_of_tokens(backbones):
    model = Model(backbones[0], Autoregressive())
    canvas = model.canvas(tokens_of(2, 8))
    embedded = model.embedding(canvas.tokens)
    torch.testing.assert_close(model.run(canvas, inputs_embeds=embedded), model.run(canvas), **CLOSE)


def test_the_trunk_is_what_the_unembedding_reads(backbones):
    model = Model(backbones[0], Masked(mask_id=MASK))
    canvas = model.canvas(tokens_of(2, 8))
    torch.testing.assert_close(model.unembed(model.run_trunk(canvas)), model.run(canvas), **CLOSE)
