"""What must be the same whatever is done elsewhere on the canvas, and where the paradigms meet."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from probe.errors import ProbeError
from probe.paradigms import Autoregressive, Block, Fluid, Masked, named
from probe.paradigms.block import beside_clean
from probe.paradigms.fluid import insert
from tests.probe.tiny import MASK, model_of, tokens_of

CLOSE = {"atol": 1e-5, "rtol": 0}
SEEDS = st.integers(0, 10_000)


def drawn(tokens, seed: int):
    generator = torch.Generator().manual_seed(seed)
    anchors = torch.rand(tokens.shape, generator=generator) < 0.4
    return anchors, torch.randint(1, 6, tokens.shape, generator=generator)


@pytest.mark.parametrize("variant", ["gpt2", "llama-gqa", "qwen3"])
@settings(deadline=None, max_examples=10)
@given(SEEDS)
def test_fluid_leaves_the_text_s_logits_those_of_the_ar_model(variant, seed):
    model = model_of(variant, Fluid(mask_id=MASK))
    tokens = tokens_of(2, 10, seed=seed)
    canvas = insert(tokens, *drawn(tokens, seed), MASK)
    anything = torch.where(canvas.block > 0, tokens_of(2, canvas.slots, seed=seed + 1), canvas.tokens)
    alone = model_of(variant).logits(tokens)
    for shown in (canvas.tokens, anything):
        logits = model.run(type(canvas)(shown, canvas.allowed, canvas.places, canvas.block))
        torch.testing.assert_close(logits[:, : tokens.shape[1]], alone, **CLOSE)


@settings(deadline=None, max_examples=10)
@given(SEEDS)
def test_a_fluid_block_does_not_change_with_other_blocks_nor_with_the_text_behind_its_anchor(seed):
    model = model_of("llama-gqa", Fluid(mask_id=MASK))
    tokens = tokens_of(1, 10, seed=seed)
    anchors, lengths = drawn(tokens, seed)
    anchors[0, 4] = True
    canvas = insert(tokens, anchors, lengths, MASK)
    mine = canvas.block[0] == 5
    others = insert(
        torch.cat([tokens[:, :5], tokens_of(1, 5, seed=seed + 1)], 1),
        torch.zeros_like(anchors).index_fill(1, torch.tensor([4]), True),
        lengths,
        MASK,
    )
    alone = others.block[0] == 5
    assert alone.sum() == mine.sum() == lengths[0, 4]
    torch.testing.assert_close(model.run(canvas)[0, mine], model.run(others)[0, alone], **CLOSE)


def test_an_inserted_block_is_the_text_that_goes_on():
    """Behind its anchor a block is a causal continuation: it reads as if it stood there by itself."""
    model = model_of("llama-gqa", Fluid(mask_id=MASK))
    tokens = tokens_of(1, 8)
    anchors = torch.zeros_like(tokens, dtype=torch.bool)
    anchors[0, 3] = True
    canvas = insert(tokens, anchors, torch.full_like(tokens, 3), MASK)
    straight = torch.cat([tokens[:, :4], torch.full((1, 3), MASK)], 1)
    torch.testing.assert_close(model.run(canvas)[:, 8:], model.logits(straight, "causal")[:, 4:], **CLOSE)


@settings(deadline=None, max_examples=15)
@given(SEEDS, st.integers(1, 5))
def test_a_noisy_block_does_not_change_with_the_noise_of_others(seed, size):
    model = model_of("llama-gqa", Block(mask_id=MASK, attention=f"block:{size}"))
    clean = tokens_of(1, 10, seed=seed)
    noised = tokens_of(1, 10, seed=seed, masked=0.5)
    block = torch.arange(10) // size
    mine = block == int(torch.randint(0, int(block[-1]) + 1, (), generator=torch.Generator().manual_seed(seed)))
    others = torch.where(mine, noised, tokens_of(1, 10, seed=seed + 1, masked=0.5))
    found = [model.run(beside_clean(copy, clean, size))[0, :10][mine] for copy in (noised, others)]
    torch.testing.assert_close(*found, **CLOSE)


@settings(deadline=None, max_examples=15)
@given(SEEDS, st.integers(1, 5))
def test_a_noisy_block_beside_the_clean_text_is_that_block_behind_it(seed, size):
    """What is trained in one pass is what decoding asks: clean blocks, then the noisy one."""
    model = model_of("llama-gqa", Block(mask_id=MASK, attention=f"block:{size}"))
    clean, noised = tokens_of(1, 10, seed=seed), tokens_of(1, 10, seed=seed, masked=0.5)
    trained = model.run(beside_clean(noised, clean, size))[0]
    for start in range(0, 10, size):
        end = min(start + size, 10)
        asked = model.logits(torch.cat([clean[:, :start], noised[:, start:end]], 1))[0, start:end]
        torch.testing.assert_close(trained[start:end], asked, **CLOSE)
    torch.testing.assert_close(trained[10:], model.logits(clean)[0], **CLOSE)


def test_blocks_of_one_with_shift_ask_exactly_what_autoregression_asks():
    tokens = tokens_of(3, 9)
    model = model_of("llama-gqa", Block(mask_id=MASK, attention="block:1"))
    batch = model.paradigm.training_batch(tokens, torch.Generator().manual_seed(0))
    plain = Autoregressive().training_batch(tokens, torch.Generator())
    clean = slice(9, None)
    asked = batch.labels[:, clean] != -100
    assert (batch.labels[:, :9] == -100).all()
    assert asked.any()
    assert torch.equal(batch.labels[:, clean][asked], plain.labels[asked])
    torch.testing.assert_close(model.run(batch.canvas)[:, clean][asked], model.run(plain.canvas)[asked], **CLOSE)


@pytest.mark.parametrize("shift", [True, False])
def test_one_block_of_everything_is_masked_diffusion(shift):
    tokens = tokens_of(3, 9)
    model = model_of("llama-gqa", Block(mask_id=MASK, attention="block:9", shift=shift))
    batch = model.paradigm.training_batch(tokens, torch.Generator().manual_seed(3))
    masked = Masked(mask_id=MASK, shift=shift).training_batch(tokens, torch.Generator().manual_seed(3))
    assert torch.equal(batch.canvas.tokens[:, :9], masked.canvas.tokens)
    assert torch.equal(batch.labels[:, :9], masked.labels)
    assert (batch.labels[:, 9:] == -100).all()
    torch.testing.assert_close(model.run(batch.canvas)[:, :9], model.run(masked.canvas), **CLOSE)
    torch.testing.assert_close(batch.loss(model.run(batch.canvas)), masked.loss(model.run(masked.canvas)), **CLOSE)


def test_where_answers_are_read():
    tokens = torch.tensor([[5, MASK, 6, MASK]])
    places = torch.tensor([[1, 2, 3]])
    assert Masked(mask_id=MASK).read_at(tokens, places).tolist() == [[0, 1, 2]]
    assert Masked(mask_id=MASK, shift=False).read_at(tokens, places).tolist() == [[1, 2, 3]]
    wedlm = Masked(mask_id=MASK, shift=False, clean_shift=True, attention="masks_last")
    assert wedlm.read_at(tokens, places).tolist() == [[1, 1, 3]]


def test_paradigms_by_name():
    assert [named(name) for name in ("autoregressive", "masked", "block", "fluid")] == [
        Autoregressive,
        Masked,
        Block,
        Fluid,
    ]
    with pytest.raises(ProbeError, match="'masked'"):
        named("maskd")
