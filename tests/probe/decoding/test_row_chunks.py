"""Many rows are decoded in chunks, and the joined run is the one that all rows together would have made."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

import probe
from probe.decoding import PassOptions, Sampler, Strides, row_chunks
from probe.decoding.row_chunks import LOGITS, rows_at_once, seed_of
from probe.decoding.trajectory import StridesTaken, Trajectory
from probe.paradigms import Autoregressive, Block, Fluid, Masked
from tests.probe.tiny import MASK, VOCABULARY, model_of, tokens_of

PROMPTS, LENGTH = 5, 6
PARADIGMS = {
    "ar": (Autoregressive(), None),
    "masked": (Masked(mask_id=MASK), None),
    "remasked": (Masked(mask_id=MASK), Sampler(order="confidence", steps=6, stop=(3, 4))),
    "block": (Block(mask_id=MASK, attention="block:3", shift=False), None),
    "fluid": (Fluid(mask_id=MASK), Strides(length=3)),
}
COUNTED = ("forward_passes", "slots", "strides")  # compared by themselves


def chunked(monkeypatch, rows: int, slots: int) -> None:
    monkeypatch.setattr(row_chunks, "LOGITS", rows * slots * VOCABULARY * 4)


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.allclose(one.double().nan_to_num(-1), other.double().nan_to_num(-1), atol=1e-6)
    return one == other


@pytest.mark.parametrize("name", PARADIGMS)
def test_greedy_text_does_not_depend_on_the_chunks(name, monkeypatch):
    paradigm, rule = PARADIGMS[name]
    model, prompts = model_of("llama-gqa", paradigm), tokens_of(PROMPTS, 4)
    whole = probe.decode(model, prompts, LENGTH, sampler=rule)
    chunked(monkeypatch, 2, 1 if name == "ar" else 4 + LENGTH)
    apart = probe.decode(model, prompts, LENGTH, sampler=rule)
    assert [one.name for one in fields(Trajectory) if one.name not in COUNTED
            and not same(getattr(apart, one.name), getattr(whole, one.name))] == []  # fmt: skip
    assert apart.forward_passes >= int(apart.passes.max()) + 2  # three chunks make their own passes
    if whole.strides is not None and apart.strides is not None:
        assert taken(apart.strides) == taken(whole.strides)


def taken(strides: StridesTaken) -> list[list[int]]:
    """What is known of each stride, by example and place, without the order among strides that ended in one pass."""
    columns = (strides.example, strides.start, strides.proposed, strides.accepted, strides.ended_at)
    return sorted(torch.stack(columns, 1).tolist())


def test_each_chunk_of_a_sampled_run_draws_anew_and_the_call_can_be_repeated(monkeypatch):
    model = model_of("llama-gqa", Masked(mask_id=MASK))
    prompts = tokens_of(1, 4).expand(6, -1)
    rule = Sampler(temperature=1.0)
    chunked(monkeypatch, 2, 4 + LENGTH)
    first, again = (probe.decode(model, prompts, LENGTH, sampler=rule, seed=7) for _ in range(2))
    assert torch.equal(first.tokens, again.tokens)
    assert first.seed == 7
    assert not torch.equal(first.tokens[:2], first.tokens[2:4])
    assert not torch.equal(first.tokens[2:4], first.tokens[4:])
    assert torch.equal(first.tokens[:2], probe.decode(model, prompts[:2], LENGTH, sampler=rule, seed=7).tokens)


def test_who_watches_the_passes_sees_all_rows_in_each(monkeypatch):
    model = model_of("llama-gqa", Masked(mask_id=MASK))
    chunked(monkeypatch, 2, 4 + LENGTH)
    rows: list[int] = []
    options = PassOptions(on_step=lambda _step, state, _written: rows.append(len(state)))
    probe.decode(model, tokens_of(PROMPTS, 4), LENGTH, passes=options)
    assert set(rows) == {PROMPTS}


def test_an_edit_with_a_value_for_each_row_gets_all_rows(monkeypatch):
    model, prompts = model_of("llama-gqa", Masked(mask_id=MASK)), tokens_of(PROMPTS, 4)
    values = torch.randn(PROMPTS, 1, model.d_model, generator=torch.Generator().manual_seed(0))
    put = probe.patch("resid_pre", values, layer=1, position=3)
    with probe.edit(model, put):
        whole = probe.decode(model, prompts, LENGTH)
        chunked(monkeypatch, 2, 4 + LENGTH)
        assert torch.equal(probe.decode(model, prompts, LENGTH).tokens, whole.tokens)
    assert not torch.equal(probe.decode(model, prompts, LENGTH).tokens, whole.tokens)


def test_blanks_are_filled_in_chunks_too(monkeypatch):
    model, text = model_of("llama-gqa", Masked(mask_id=MASK)), tokens_of(PROMPTS, 8).clone()
    text[:, 2:5] = MASK
    whole = probe.decoding.fill(model, text)
    chunked(monkeypatch, 2, 8)
    assert torch.equal(probe.decoding.fill(model, text).tokens, whole.tokens)


def test_a_seeds_chunks_have_seeds_of_their_own_that_a_generator_takes():
    seeds = {seed_of(seed, chunk) for seed in (0, 1, 2, (1 << 63) - 1) for chunk in range(500)}
    assert len(seeds) == 4 * 500
    assert all(-(1 << 63) <= seed < 1 << 63 for seed in seeds)


def test_how_many_rows_go_together():
    assert rows_at_once(64, 152_064) == LOGITS // (4 * 64 * 152_064) == 27
    assert rows_at_once(1, 152_064) > 1000  # an autoregressive pass predicts one slot
    assert rows_at_once(10_000, 1_000_000) == 1
