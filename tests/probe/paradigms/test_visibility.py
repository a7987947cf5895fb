"""The masks, as properties: nobody sees what is later, nobody is left blind, padding changes nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from probe.errors import AttentionError
from probe.paradigms import Autoregressive, Block, Masked
from probe.paradigms.block import beside_clean
from probe.paradigms.fluid import insert
from probe.paradigms.visibility import additive, allowed_by, annealed, block_size, visible
from tests.probe.slow_masks import slow_insert, slow_visible
from tests.probe.tiny import MASK, model_of, stock_logits

KINDS = st.sampled_from(["causal", "full", "masks_last", *(f"block:{size}" for size in (1, 2, 3, 4, 7, 32))])
CLOSE = {"atol": 1e-5, "rtol": 0}


@st.composite
def texts(draw, longest: int = 12) -> Tensor:
    rows, length = draw(st.integers(1, 3)), draw(st.integers(1, longest))
    token = st.one_of(st.integers(0, MASK - 1), st.just(MASK))
    return torch.tensor([[draw(token) for _ in range(length)] for _ in range(rows)])


@st.composite
def insertions(draw) -> tuple[Tensor, Tensor, Tensor]:
    tokens = draw(texts(8))
    flat = st.lists(st.booleans(), min_size=tokens.numel(), max_size=tokens.numel())
    lengths = st.lists(st.integers(1, 4), min_size=tokens.numel(), max_size=tokens.numel())
    anchors = torch.tensor(draw(flat)).view_as(tokens)
    return tokens, anchors, torch.tensor(draw(lengths)).view_as(tokens)


@given(KINDS, texts())
def test_every_kind_is_what_it_says_pair_by_pair(kind, tokens):
    found = visible(kind, tokens, mask_id=MASK).expand(len(tokens), -1, -1)
    assert torch.equal(found, slow_visible(kind, tokens, MASK))


@given(KINDS, texts())
def test_nobody_is_blind_and_everybody_sees_itself(kind, tokens):
    allowed = visible(kind, tokens, mask_id=MASK)
    assert allowed.diagonal(dim1=1, dim2=2).all()
    assert torch.isfinite(additive(allowed)).all()


@given(st.integers(1, 40), texts(20))
def test_a_block_never_sees_a_later_one(size, tokens):
    allowed = visible(f"block:{size}", tokens)[0]
    for query, key in (~allowed).nonzero().tolist():
        assert key // size > query // size
    for query, key in allowed.nonzero().tolist():
        assert key // size <= query // size


@given(texts())
def test_blocks_of_one_are_causal_and_one_block_is_full(tokens):
    assert torch.equal(visible("block:1", tokens), visible("causal", tokens))
    assert torch.equal(visible(f"block:{tokens.shape[1]}", tokens), visible("full", tokens))


@given(texts())
def test_masks_last_is_causal_after_the_masks_were_moved(tokens):
    for row, sees in zip(tokens, visible("masks_last", tokens, mask_id=MASK), strict=True):
        order = torch.cat([(row != MASK).nonzero()[:, 0], (row == MASK).nonzero()[:, 0]])
        assert torch.equal(sees[order][:, order], torch.ones(len(row), len(row), dtype=torch.bool).tril())
        clean = row != MASK
        assert not sees[clean][:, ~clean].any()


@settings(deadline=None, max_examples=25)
@given(texts())
def test_masks_last_logits_are_those_of_the_reordered_text(tokens):
    model = model_of("qwen3", Masked(mask_id=MASK, attention="masks_last"))
    found = model.logits(tokens)
    for row, logits in zip(tokens, found, strict=True):
        order = torch.cat([(row != MASK).nonzero()[:, 0], (row == MASK).nonzero()[:, 0]])
        # The mask is said, for without one transformers takes positions that go back for several packed texts.
        causal = torch.ones(1, len(row), len(row), dtype=torch.bool).tril()
        moved = stock_logits(model.backbone, row[order][None], causal, position_ids=order[None])
        torch.testing.assert_close(logits[order], moved[0], **CLOSE)


@settings(deadline=None, max_examples=40)
@given(KINDS, texts(), st.integers(1, 5), st.booleans(), st.sampled_from(["gpt2", "llama-gqa"]))
def test_padding_on_either_side_changes_no_real_token_s_logits(kind, tokens, width, left, variant):
    model = model_of(variant, Masked(mask_id=MASK, attention=kind))
    pads = torch.zeros(len(tokens), width, dtype=torch.long)
    padded = torch.cat([pads, tokens] if left else [tokens, pads], 1)
    padding = torch.ones_like(padded, dtype=torch.bool)
    real = slice(width, None) if left else slice(None, tokens.shape[1])
    padding[:, real] = False
    found = model.logits(padded, padding=padding)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found[:, real], model.logits(tokens), **CLOSE)


def test_rows_of_one_batch_may_be_padded_differently():
    model = model_of("llama-gqa", Block(mask_id=MASK))
    texts = [torch.tensor([[1, 2, 3, 4, 5, 6]]), torch.tensor([[7, 8, 9]])]
    padded = torch.tensor([[1, 2, 3, 4, 5, 6], [0, 0, 0, 7, 8, 9]])
    found = model.logits(padded, padding=torch.tensor([[False] * 6, [True] * 3 + [False] * 3]))
    torch.testing.assert_close(found[0], model.logits(texts[0])[0], **CLOSE)
    torch.testing.assert_close(found[1, 3:], model.logits(texts[1])[0], **CLOSE)


def test_a_mask_of_the_users_own_may_be_padded_too():
    model = model_of("llama-gqa")
    tokens = torch.tensor([[0, 0, 5, 6, 7]])
    padding = torch.tensor([[True, True, False, False, False]])
    mask = additive(visible("full", tokens))
    torch.testing.assert_close(
        model.logits(tokens, mask, padding=padding)[:, 2:], model.logits(tokens[:, 2:], "full"), **CLOSE
    )


# FLUID


@given(insertions())
def test_insertion_is_what_it_says_slot_by_slot(case):
    tokens, anchors, lengths = case
    canvas = insert(tokens, anchors, lengths, MASK)
    for row, (shown, places, sees) in enumerate(slow_insert(tokens, anchors, lengths, MASK)):
        real = len(shown)
        assert canvas.tokens[row, :real].tolist() == shown
        assert canvas.places[row, :real].tolist() == places
        assert canvas.allowed[row, :real, :real].tolist() == sees
        assert (canvas.block[row, real:] == -1).all()
        assert (canvas.block[row, :real] >= 0).all()


@given(insertions())
def test_no_main_token_sees_an_inserted_one_and_no_block_another(case):
    tokens, anchors, lengths = case
    canvas = insert(tokens, anchors, lengths, MASK)
    for row in range(len(tokens)):
        block, place, allowed = canvas.block[row], canvas.places[row], canvas.allowed[row]
        for query, key in allowed.nonzero().tolist():
            if query == key:
                continue
            assert place[key] <= place[query]
            if block[query] == 0:
                assert block[key] == 0
            else:
                anchor = block[query] - 1
                assert block[query] > 0  # padding sees itself alone
                assert (block[key] == 0 and place[key] <= anchor) or block[key] == block[query]
        padding = block == -1
        assert not allowed[~padding][:, padding].any()
        assert allowed.any(1).all()


# The canvas that block diffusion trains on


@given(st.integers(1, 12), st.integers(1, 14))
def test_a_noisy_block_sees_itself_and_the_clean_blocks_before_it(length, size):
    clean, noised = torch.arange(length)[None], torch.full((1, length), MASK)
    canvas = beside_clean(noised, clean, size)
    assert canvas.tokens.tolist() == [[*noised[0].tolist(), *clean[0].tolist()]]
    assert canvas.places[0].tolist() == [*range(length), *range(length)]
    for query in range(2 * length):
        for key in range(2 * length):
            mine, other = query % length // size, key % length // size
            if query < length:
                expected = mine == other if key < length else other < mine
            else:
                expected = key >= length and other <= mine
            assert canvas.allowed[0, query, key].item() == expected
    assert canvas.block[0, length:].eq(0).all()
    assert canvas.block[0, :length].tolist() == [1 + place // size for place in range(length)]


# The additive form


@given(KINDS, texts())
def test_additive_and_back(kind, tokens):
    allowed = visible(kind, tokens, mask_id=MASK)
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        mask = additive(allowed, dtype)
        assert mask.shape == (len(allowed), 1, *allowed.shape[1:])
        assert mask.dtype == dtype
        assert torch.isfinite(mask).all()
        assert torch.equal(allowed_by(mask, tokens), allowed)


def test_additive_refuses_what_is_not_boolean_and_who_sees_nothing():
    with pytest.raises(AttentionError, match="booleans"):
        additive(torch.ones(1, 3, 3))
    blind = torch.ones(2, 3, 3, dtype=torch.bool)
    blind[1, 2] = False
    with pytest.raises(AttentionError, match=r"\(1, 2\)"):
        additive(blind)


def test_block_sizes():
    assert [block_size(kind) for kind in ("block:4", "block:32", "causal", "full")] == [4, 32, None, None]


def test_annealing_goes_from_causal_to_full():
    tokens = torch.zeros(4, 20, dtype=torch.long)
    canvas = Masked(mask_id=MASK).canvas(tokens)
    full, causal = canvas.allowed.expand(4, -1, -1), visible("causal", tokens).expand(4, -1, -1)
    for rate in (0.0, 0.3, 1.0):
        found = annealed(full, canvas.places, rate, torch.Generator().manual_seed(0))
        assert found[causal].all()
        assert abs(found[~causal].float().mean() - rate) < 0.05


def test_an_autoregressive_canvas_is_shared_by_its_examples():
    canvas = Autoregressive().canvas(torch.arange(12).view(3, 4))
    assert canvas.allowed.shape == (1, 4, 4)
    assert canvas[1:].tokens.tolist() == [[4, 5, 6, 7], [8, 9, 10, 11]]
    assert canvas[1:].allowed.shape == (1, 4, 4)
