"""What a reading shows: for every task, every reading and every way of writing."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch

from probe.errors import TaskError, TokenError
from probe.models.model import Model
from probe.paradigms import Masked
from probe.readings import AR, OneMask, Prefix, Ratio, TrajectoryReading
from tests.probe.readings.asking import (
    MASK,
    PARADIGMS,
    QUESTIONS,
    READINGS,
    askable,
    batch_of,
    before_answer,
    exchanged,
    model_of,
)

LEFT = {"ar": AR(), "prefix": Prefix(), "prefix, longer": Prefix(canvas_length=12)}
KINDS = tuple(PARADIGMS)
WITH_MASK = tuple(kind for kind in KINDS if PARADIGMS[kind].mask_id is not None)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("reading", LEFT)
def test_ar_and_prefix_show_the_left_context_and_nothing_else(question, reading):
    """On the canvas stand the text up to the answer, and masks."""
    batch, asking = batch_of(question), LEFT[reading]
    left = before_answer(batch)
    for kind in WITH_MASK:
        for which in ("clean", "corrupt"):
            shown = asking.canvas(model_of(kind), batch, which).tokens
            for row, text, known in zip(shown, getattr(batch, which), left, strict=True):
                places = int(known.sum())
                assert torch.equal(row[:places], text[:places])
                assert (row[places:] == MASK).all()


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_ar_and_prefix_are_told_by_the_left_context_alone(question, kind):
    """Other tokens from the answer on change no logit; another token anywhere to the left of it changes some."""
    model, batch = model_of(kind), batch_of(question, 2)
    left = before_answer(batch)
    for asking in LEFT.values():
        logits = asking.logits(model, batch)
        assert torch.equal(logits, asking.logits(model, exchanged(batch, ~left)))
        for example in range(len(batch)):
            places = left[example].nonzero()[:, 0]
            many = batch[[example] * len(places)]
            moved = asking.logits(model, exchanged(many, torch.eye(batch.clean.shape[1]).bool()[places]))
            assert ((moved - logits[example]).abs().amax(-1) > 1e-4).all()


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("kind", ["masked", "masked, no shift", "masks last", "block"])
def test_one_mask_is_told_by_everything_else(question, kind):
    """Every other token that the attention lets through, right of the answer too."""
    model, batch = model_of(kind), batch_of(question, 1)
    asked = OneMask().ask(model, batch)
    logits = OneMask().logits(model, batch)
    places = (torch.arange(batch.clean.shape[1]) != batch.positions["answer"][0]).nonzero()[:, 0]
    many = batch[[0] * len(places)]
    moved = OneMask().logits(model, exchanged(many, torch.eye(batch.clean.shape[1]).bool()[places]))
    seen = asked.canvas.allowed[0, asked.slots[0, 0], places]
    changes = (moved - logits[0]).abs().amax(-1)
    assert (changes[seen] > 1e-4).all()
    assert torch.all(changes[~seen] < 1e-4)
    assert kind == "block" or seen.all()


@pytest.mark.parametrize(("question", "reading"), list(product(QUESTIONS, READINGS)))
def test_what_is_hidden_changes_no_logit_and_the_answer_is_hidden(question, reading):
    """Nor does the answer's token stand at its place, and clean and corrupt differ only where the batch says."""
    batch = batch_of(question)
    draws = (replace(READINGS[reading], draws=1, seed=seed) for seed in (0, 1))
    for asking in draws if reading.startswith("ratio") else (READINGS[reading],):
        for kind in (kind for kind in KINDS if askable(kind, reading, question)):
            model = model_of(kind)
            view = asking.view(model, batch)
            clean, corrupt = (asking.ask(model, batch, which, view) for which in ("clean", "corrupt"))
            answer = batch.positions["answer"][view.example]
            blank = 0 if model.mask_id is None else MASK
            assert (clean.canvas.tokens.gather(1, answer) == blank).all()
            assert (clean.canvas.tokens[view.hidden] == blank).all()
            assert torch.equal(clean.slots, answer - int(model.shift))

            changed = torch.zeros_like(batch.clean, dtype=torch.bool).scatter_(1, batch.positions["corrupted"], True)
            said = torch.nn.functional.pad(changed, (0, view.hidden.shape[1] - changed.shape[1]))[view.example]
            assert torch.equal(clean.canvas.tokens != corrupt.canvas.tokens, said & ~view.hidden)

            # A row at a time, since what one row hides another may show.
            untold = torch.nn.functional.pad(view.hidden, (0, batch.clean.shape[1] - view.hidden.shape[1]), value=True)
            for row in range(min(len(view.example), 4)):
                one = batch[[int(view.example[row])]]
                # A trajectory starts from the prompt, and what it wrote stands in the view: there is one view to ask.
                alone = replace(view, **{
                    name: None if (part := getattr(view, name)) is None else part[[row]]
                    for name in ("hidden", "step", "ratio", "written")
                }, example=torch.tensor([0]))  # fmt: skip
                other = exchanged(one, untold[[row]])
                assert not torch.equal(one.clean, other.clean)
                assert torch.equal(asking.logits(model, one, view=alone), asking.logits(model, other, view=alone))
            if reading != "trajectory":
                again = asking.view(model, exchanged(batch, untold[: len(batch)]))
                assert torch.equal(again.hidden, view.hidden)


@pytest.mark.parametrize("question", QUESTIONS)
def test_readings_hide_what_they_say(question):
    model, batch = model_of("masked"), batch_of(question)
    places = torch.arange(batch.clean.shape[1])
    answer, completion = batch.positions["answer"], batch.positions["completion"]
    assert torch.equal(OneMask().view(model, batch).hidden, places == answer)
    assert torch.equal(AR().view(model, batch).hidden, places >= answer)
    written = int(completion.max()) + 1
    assert torch.equal(Prefix().view(model, batch).hidden, (places >= answer)[:, :written])
    over = Ratio(rate=1.0, draws=1, over="completion").view(model, batch)
    assert torch.equal(over.hidden, (places >= completion[:, :1]) & (places < written))
    assert torch.equal(Ratio(rate=1.0, draws=1).view(model, batch).hidden, (places > 0).expand(len(batch), -1))
    assert torch.equal(Ratio(rate=0.0, draws=1).view(model, batch).hidden, places == answer)


def test_all_ways_of_asking_agree_where_the_attention_is_causal():
    """What lies right of an answer is not seen then, whether it is hidden, left out, or shown."""
    batch = batch_of("sudoku")
    for kind in ("ar", "fluid"):
        model = model_of(kind)
        places = batch.positions["answer"][:, 0].tolist()
        wanted = torch.cat([model.logits(batch.clean[[i], :at])[:, -1] for i, at in enumerate(places)])
        for asking in (AR(), Prefix(), Prefix(canvas_length=20), OneMask()):
            assert torch.allclose(asking.logits(model, batch), wanted, atol=1e-5)
    bare = model_of("ar without a mask")
    assert torch.allclose(AR().logits(bare, batch), AR().logits(model_of("ar"), batch), atol=1e-5)


def test_the_prefix_leaves_out_what_follows_a_blank():
    batch = batch_of("infilling in place")
    assert Prefix().canvas(model_of("masked"), batch).slots == int(batch.positions["completion"].max()) + 1
    assert OneMask().canvas(model_of("masked"), batch).slots == batch.clean.shape[1]


def test_rows_of_a_pass_do_not_matter():
    batch = batch_of("countdown", 5)
    for kind, asking in product(("masked", "masks last"), (Prefix(), Ratio(draws=3))):
        together, apart = (asking.logits(model_of(kind), batch, rows=rows) for rows in (128, 2))
        assert torch.allclose(together, apart, atol=1e-5)


def test_a_model_without_a_mask_is_refused_what_it_would_see():
    bare, batch = model_of("ar without a mask"), batch_of("sudoku")
    for asking in (Ratio(), Prefix(attention="full"), AR(attention="block:4")):
        with pytest.raises(TaskError, match="a mask token"):
            asking.ask(bare, batch)
    unshifted = Model(bare.backbone, Masked(shift=False), name="reads at a mask it has not")
    with pytest.raises(TaskError, match="a mask token"):
        AR().ask(unshifted, batch)


def test_a_text_with_the_mask_in_sight_is_refused():
    batch = batch_of("ioi")
    masked = replace(batch, clean=batch.clean.index_fill(1, torch.tensor([3]), MASK))
    with pytest.raises(TokenError, match="mask token"):
        Prefix().ask(model_of("masked"), masked)
    hidden = replace(batch, clean=batch.clean.masked_fill(~before_answer(batch), MASK))
    assert torch.equal(Prefix().logits(model_of("masked"), hidden), Prefix().logits(model_of("masked"), batch))


def test_the_first_place_cannot_be_asked_with_shift():
    batch = batch_of("ioi")
    first = replace(batch, positions={**batch.positions, "answer": torch.zeros(len(batch), 1, dtype=torch.long)})
    with pytest.raises(TaskError, match="leftmost"):
        OneMask().ask(model_of("masked"), first)
    assert OneMask().ask(model_of("masked, no shift"), first).slots.eq(0).all()


def test_the_trajectory_of_a_blank_is_refused():
    with pytest.raises(TaskError, match="the end of the text"):
        TrajectoryReading().ask(model_of("masked"), batch_of("infilling in place"))
