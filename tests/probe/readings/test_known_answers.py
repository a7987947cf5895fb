"""Hand-made models whose answer is known, asked under every reading."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from probe.models.model import Model
from probe.pairs import Pair
from probe.paradigms import Autoregressive, Block, Fluid, Masked, Paradigm
from probe.paradigms.fluid import insert
from probe.readings import AR, OneMask, Prefix, Ratio, TrajectoryReading, aggregated, gain_from_right, two_by_two
from tests.probe.readings.asking import MASK, QUESTIONS, model_of
from tests.probe.readings.asking import batch_of as task_batch
from tests.probe.readings.handmade import batch_of, constant, reads

PARADIGMS: dict[str, Paradigm] = {
    "ar": Autoregressive(mask_id=MASK),
    "masked": Masked(mask_id=MASK),
    "masked, no shift": Masked(mask_id=MASK, shift=False),
    "masks last": Masked(mask_id=MASK, shift=False, clean_shift=True, attention="masks_last"),
    "block": Block(mask_id=MASK, shift=False),
    "fluid": Fluid(mask_id=MASK),
}
START, LENGTH, TEXT = 6, 4, 12  # a completion of four, and two tokens after it


@cache
def reader(offset: int, kind: str) -> Model:
    return reads(offset, PARADIGMS[kind])


@st.composite
def texts(draw, text: int = TEXT):
    """Random text, answers at places of their own, and the completion they are in."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    n = draw(st.integers(1, 4))
    tokens = torch.stack([20 + torch.randperm(400, generator=generator)[:text] for _ in range(n)])
    answer = torch.randint(START, START + LENGTH, (n, 1), generator=generator)
    return batch_of(tokens, answer, START, LENGTH)


def best(logits: Tensor) -> list[int]:
    return logits.argmax(-1).tolist()


@settings(max_examples=15, deadline=None)
@given(texts(), st.sampled_from(sorted(PARADIGMS)), st.sampled_from(["clean", "corrupt"]))
def test_copying_the_previous_token(batch, kind, which):
    """It stands left of the answer, so that every reading gives it; a ratio's masks may hide it."""
    model = reader(-1, kind)
    wanted = getattr(batch, which).gather(1, batch.positions["answer"] - 1)[:, 0].tolist()
    for asking in (AR(), Prefix(), Prefix(canvas_length=9), OneMask()):
        assert best(asking.logits(model, batch, which)) == wanted
    draws = Ratio(draws=3)
    hides = draws.view(model, batch).hidden
    at = batch.positions["answer"][:, 0].repeat(3)
    # Under masks_last a mask that stands to the left is seen all the same: masks keep their order among themselves.
    expected = torch.tensor(wanted).repeat(3).masked_fill(hides[torch.arange(len(at)), at - 1], MASK)
    assert best(draws.logits(model, batch, which)) == expected.tolist()


@settings(max_examples=15, deadline=None)
@given(texts(), st.sampled_from(sorted(PARADIGMS)))
def test_reading_the_next_token(batch, kind):
    """Only one mask lets it be seen, and only where the attention is open; under prefix a mask stands there, or
    nothing. What is not seen is answered with the first token."""
    model, first = reader(1, kind), batch.clean[:, 0].tolist()
    answer = batch.positions["answer"][:, 0]
    assert best(AR().logits(model, batch)) == first
    nobody = torch.zeros(len(answer), dtype=torch.bool)
    sees_right = {
        "ar": nobody,
        "fluid": nobody,
        "masked": ~nobody,
        "masked, no shift": ~nobody,
        "block": (answer + 1) // 4 == answer // 4,
        # A mask comes behind all that is clean, but before the masks to its right.
        "masks last": ~nobody,
    }[kind]
    following = batch.clean[torch.arange(len(answer)), answer + 1]
    assert best(OneMask().logits(model, batch)) == torch.where(sees_right, following, batch.clean[:, 0]).tolist()
    sees_mask = nobody if kind == "masks last" else sees_right
    for canvas in (LENGTH, 9):
        there = sees_mask & (answer + 1 < START + canvas)
        told = Prefix(canvas_length=canvas).logits(model, batch)
        assert best(told) == torch.where(there, MASK, batch.clean[:, 0]).tolist()
    assert torch.equal(Prefix().logits(model, batch), Prefix(canvas_length=LENGTH).logits(model, batch))


@pytest.mark.parametrize("kind", PARADIGMS)
def test_a_constant_is_a_constant(kind):
    model = constant(77, PARADIGMS[kind])
    for question in QUESTIONS:
        for asking in (AR(), Prefix(), OneMask(), Ratio(draws=2)):
            assert set(best(asking.logits(model, task_batch(question)))) == {77}
    asked = TrajectoryReading().ask(model, task_batch("sudoku"))
    assert (asked.canvas.tokens[:, -8:].eq(77) | asked.view.hidden[:, -8:]).all()


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("offset", [-3, -1, 1, 2])
def test_twins_with_and_without_shift_answer_alike(question, offset):
    """One function, read at the slot before the answer or at its own: the same logits under every reading."""
    batch = task_batch(question)
    shifted, unshifted = reader(offset, "masked"), reader(offset, "masked, no shift")
    readings = [AR(), Prefix(), Prefix(canvas_length=12), OneMask(), Ratio(draws=3)]
    # These models are equally sure everywhere, so that only an order of its own makes their runs the same.
    runs = [] if question == "infilling in place" else [TrajectoryReading(sampler="left_to_right")]
    for asking in readings + runs:
        one, other = (asking.ask(model, batch) for model in (shifted, unshifted))
        assert torch.equal(one.canvas.tokens, other.canvas.tokens)
        assert torch.equal(one.slots + 1, other.slots)
        ours, theirs = (asking.logits(model, batch) for model in (shifted, unshifted))
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_a_trajectory_of_copies():
    """Written from left to right, the last prompt token is copied on and on: open steps before it see a mask."""
    for kind, sampler in (("masked", "left_to_right"), ("masked, no shift", "left_to_right"), ("ar", None)):
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randint(20, 400, (LENGTH, START + LENGTH), generator=generator)
        answer = START + torch.arange(LENGTH)[:, None]
        batch, model = batch_of(tokens, answer, START, LENGTH), reader(-1, kind)
        asking = TrajectoryReading(sampler=sampler)
        view = asking.view(model, batch)
        told = asking.logits(model, batch, view=view).argmax(-1)
        copied = tokens[:, START - 1]
        for at, example, step in zip(told.tolist(), view.example.tolist(), view.step.tolist(), strict=True):
            assert at == (copied[example] if step == example else MASK)
        steps = [[example] if kind == "ar" else list(range(example + 1)) for example in range(LENGTH)]
        found = [view.step[view.example == example].tolist() for example in range(LENGTH)]
        assert found == steps
        assert aggregated(told.float(), view, "commit").tolist() == copied.tolist()


def test_an_inserted_block_of_fluid_is_masks_appended():
    """Behind the last anchor, whatever of the block is already restored: the reading's plain canvas is FLUID's."""
    model = model_of("fluid")
    for question in ("countdown", "sudoku", "infilling"):
        batch = task_batch(question)
        start, width = int(batch.positions["completion"].min()), batch.positions["completion"].shape[1]
        for hidden in (torch.ones(width).bool(), torch.rand(width, generator=torch.Generator().manual_seed(1)) < 0.5):
            shown = batch.clean.clone()
            shown[:, start:] = shown[:, start:].masked_fill(hidden, MASK)
            anchors = torch.zeros(len(batch), start, dtype=torch.bool)
            anchors[:, -1] = True
            blank = insert(batch.clean[:, :start], anchors, torch.full_like(anchors, width, dtype=torch.long), MASK)
            block = type(blank)(shown, blank.allowed, blank.places, blank.block)
            assert torch.allclose(model.run(block)[:, start - 1 :], model.logits(shown)[:, start - 1 :], atol=1e-5)
    asked = Prefix().ask(model, batch)
    assert torch.equal(asked.canvas.tokens[:, start:], torch.full_like(asked.canvas.tokens[:, start:], MASK))


def test_the_two_by_two():
    """Two functions under two masks: the rows are the weights', the columns the mask's."""
    tokens = 20 + torch.arange(24).view(2, 12)
    batch = batch_of(tokens, torch.tensor([[6], [7]]), START, LENGTH)
    pair = Pair(reads(-1, Autoregressive()), reader(1, "masked, no shift"))
    left, right, first = ([int(tokens[i, 6 + i + o]) for i in range(2)] for o in (-1, 1, -6))
    cells = two_by_two(pair, batch, OneMask())
    assert {cell: best(logits) for cell, logits in cells.items()} == {
        ("ar", "causal"): left,
        ("ar", "native"): left,
        ("diffusion", "causal"): [first[0], int(tokens[1, 0])],
        ("diffusion", "native"): right,
    }
    own = two_by_two(pair, batch, "prefix", "corrupt")
    assert torch.equal(own["diffusion", "native"], Prefix().logits(pair.diffusion, batch, "corrupt"))
    assert torch.allclose(own["ar", "causal"], AR().logits(pair.ar, batch, "corrupt"), atol=1e-6)


def test_the_two_by_two_over_a_run_asks_about_one_run():
    tokens = 20 + torch.arange(20).view(2, 10)
    batch = batch_of(tokens, torch.tensor([[7], [8]]), START, LENGTH)
    pair = Pair(reads(-1, Autoregressive()), reader(-1, "masked"))
    asking = TrajectoryReading(sampler="left_to_right")
    cells = two_by_two(pair, batch, asking)
    answers = {cell: best(logits) for cell, logits in cells.items()}
    assert len({tuple(told) for told in answers.values()}) == 1
    assert len(answers["ar", "causal"]) == len(asking.view(pair.diffusion, batch).example) == 2 + 3


def test_the_gain_from_the_right():
    """None for a causal model or one that looks left; for one that looks right, what its two answers differ by."""
    tokens = 20 + torch.arange(24).view(2, 12)
    batch = batch_of(tokens, torch.tensor([[6], [7]]), START, LENGTH)
    assert torch.allclose(gain_from_right(reader(-1, "masked"), batch), torch.zeros(2), atol=1e-6)
    assert torch.allclose(gain_from_right(reader(1, "ar"), batch), torch.zeros(2), atol=1e-6)
    looks_right = reader(1, "masked")
    # One mask: a logit of 1 on the next token. Prefix: 1 on the mask, which is out of the running, and 0 elsewhere.
    others = looks_right.vocabulary - 2
    told = torch.tensor([torch.e / (torch.e + others), *[1 / (torch.e + others)] * others])
    gain = (told * told.log()).sum() + torch.log(torch.tensor(others + 1.0))
    assert torch.allclose(gain_from_right(looks_right, batch), gain.expand(2), atol=1e-5)
    assert torch.equal(gain_from_right(model_of("masked"), task_batch("ioi")), torch.zeros(3)), "nothing is right of it"
    whole, cut = (gain_from_right(model_of("masked"), task_batch("infilling in place"), vocabulary=v) for v in (471, 9))
    assert (whole > 1e-3).all()
    assert (cut > 1e-6).all()
    assert not torch.allclose(whole, cut)
