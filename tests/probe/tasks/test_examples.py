"""What every example of every task promises, for every vocabulary it can be written in."""

from __future__ import annotations

import pytest
import torch
from tokenizers.processors import TemplateProcessing

from probe.errors import TaskError
from probe.tasks import TASKS, task
from tests.probe.tasks.vocabularies import (
    PUBLISHED,
    WRITTEN,
    batch,
    characters,
    knobs_of,
    tokenizer,
    whole_words,
)

every_writing = pytest.mark.parametrize(("asked", "words"), WRITTEN)


@every_writing
def test_rows_line_up(asked, words):
    made = batch(asked, words)
    assert made.clean.shape == made.corrupt.shape == (150, made.clean.shape[1])
    assert len(set(map(tuple, made.clean.tolist()))) == 150
    for at in made.positions.values():
        assert at.shape[0] == 150
        assert (at >= 0).all()
        assert (at < made.clean.shape[1]).all()
    assert made.clean.max() < len(tokenizer(words))


@every_writing
def test_the_target_stands_at_the_answer_and_the_distractor_does_not(asked, words):
    made = batch(asked, words)
    answer = made.positions["answer"]
    assert answer.shape == (150, 1)
    assert made.clean.gather(1, answer)[:, 0].equal(made.target)
    assert (made.target != made.distractor).all()
    assert (made.positions["completion"] == answer).any(1).all()


@every_writing
def test_the_completion_is_a_stretch_that_ends_the_text(asked, words):
    made = batch(asked, words)
    completion = made.positions["completion"]
    assert (completion.diff(dim=1) == 1).all()
    which, knobs = knobs_of(asked)
    if getattr(task(which, **knobs), "in_place", False):
        assert (completion[:, -1] < made.clean.shape[1] - 1).all()
    else:
        assert (completion[:, -1] == made.clean.shape[1] - 1).all()


@every_writing
def test_corrupt_differs_exactly_where_it_says_and_never_in_the_completion(asked, words):
    made = batch(asked, words)
    differs = made.clean != made.corrupt
    said = torch.zeros_like(differs).scatter(1, made.positions["corrupted"], True)
    assert differs.equal(said)
    assert differs.any(1).all()
    assert not differs.gather(1, made.positions["completion"]).any()


@every_writing
def test_corrupt_differs_only_at_the_places_its_task_names(asked, words):
    which, knobs = knobs_of(asked)
    made = batch(asked, words)
    named = torch.cat([made.positions[name] for name in task(which, **knobs).corrupts if name in made.positions], dim=1)
    assert (made.positions["corrupted"][:, :, None] == named[:, None]).any(2).all()


@every_writing
def test_choices_are_right_wrong_or_open(asked, words):
    made = batch(asked, words)
    assert made.choices.unique().shape == made.choices.shape
    assert not (made.right & made.wrong).any()
    assert made.right[made.choices == made.target[:, None]].all()
    assert made.wrong[made.choices == made.distractor[:, None]].all()
    for held in (made.target, made.distractor):
        assert torch.isin(held, made.choices).all()
    if knobs_of(asked)[0] != "greater_than":  # there the units may still decide
        assert (made.right ^ made.wrong).all()


@every_writing
def test_a_text_is_what_the_tokenizer_itself_makes_of_it(asked, words):
    """BOS and all: a model meets these ids when someone types the text."""
    made = batch(asked, words)
    for which in ("clean", "corrupt"):
        for ids, text in zip(getattr(made, which).tolist(), made.texts(tokenizer(words), which), strict=True):
            assert tokenizer(words)(text)["input_ids"] == ids


@every_writing
def test_words_stand_one_space_apart(asked, words):
    """Two spaces in a row are tokens of their own, which nobody would type."""
    assert not any("  " in text for text in batch(asked, words).texts(tokenizer(words)))


def test_what_the_tokenizer_puts_around_a_text_is_kept_before_it_and_left_out_behind():
    """A checkpoint of LLaMA 3 puts a BOS; some put an EOS behind, after which nothing would be asked."""
    import copy

    around = copy.deepcopy(tokenizer("llama3"))
    marks = [(sign, around.convert_tokens_to_ids(sign)) for sign in ("<|begin_of_text|>", "<|end_of_text|>")]
    around.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{marks[0][0]} $A {marks[1][0]}", special_tokens=marks
    )
    bare, held = task("ioi").examples(tokenizer("llama3"), 5), task("ioi").examples(around, 5)
    assert (held.clean[:, 0] == marks[0][1]).all()
    assert held.clean[:, 1:].equal(bare.clean)
    assert held.positions["answer"].equal(bare.positions["answer"] + 1)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ioi", "at least 20 names that are one token; found 0"),
        ("greater_than", "at least 10 nouns that are one token; found 0"),
        ("induction", "at least 24 words that are one token; found 0"),
        ("countdown", "operators that are one token; found 0"),
        ("paths", "letters that are one token; found 0"),
        ("infilling", "at least 20 names that are one token; found 0"),
    ],
)
def test_a_vocabulary_of_characters_is_refused_with_the_reason(name, reason):
    with pytest.raises(TaskError, match=rf"the task {name!r} for .*{reason}"):
        task(name).examples(characters(), 5)


def test_a_sudoku_needs_digits_only_so_that_characters_will_do():
    assert len(task("sudoku").examples(characters(), 5)) == 5


@pytest.mark.parametrize("name", TASKS)
def test_a_vocabulary_of_other_words_is_refused(name):
    with pytest.raises(TaskError, match="expected"):
        task(name).examples(whole_words("a the 1 something else entirely"), 5)


def test_years_in_letters_are_refused():
    from probe.tasks import greater_than, word_lists

    words = whole_words("a the 1 The from the year to " + " ".join((*word_lists.EVENTS, *greater_than.VERBS)))
    with pytest.raises(TaskError, match="unknown tokens"):
        task("greater_than").examples(words, 5)


def test_a_model_without_a_tokenizer_is_told():
    class Bare:
        tokenizer = None

    with pytest.raises(TaskError, match="loaded without one"):
        task("ioi").examples(Bare(), 5)


@pytest.mark.parametrize("words", PUBLISHED)
def test_names_and_numbers_are_single_tokens_of_the_tokenizer_at_hand(words):
    made = batch("ioi", words)
    for place in ("subject", "indirect_object", "second_subject", "object", "place"):
        assert made.positions[place].shape[1] == 1


def test_a_longer_batch_begins_with_the_shorter_one():
    for name in TASKS:
        short, long = (task(name).examples(tokenizer("words"), n, seed=3) for n in (20, 60))
        assert long.clean[:20].equal(short.clean)
        assert long[:20].facts == short.facts


def test_a_part_of_a_batch_is_a_batch():
    made = batch("countdown")
    part = made[torch.tensor([5, 2])]
    assert part.clean.equal(made.clean[[5, 2]])
    assert part.facts == (made.facts[5], made.facts[2])
    assert made[made.target == made.target[0]].target.unique().tolist() == [made.target[0]]
    assert len(made[3]) == 1
