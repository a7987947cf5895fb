"""The tasks of natural English: which words decide the answer, in the vocabularies of real models."""

from __future__ import annotations

import re

import pytest

from probe.errors import TaskError
from probe.tasks import ENGLISH, Batch, task
from probe.tasks.word_lists import CLUES, NOUNS, VERB_FORMS
from tests.probe.tasks.vocabularies import ENGLISH_ASKED, PUBLISHED, batch, tokenizer

every_vocabulary = pytest.mark.parametrize("words", PUBLISHED)
PLURALS = {many for _, many in NOUNS}
VERBS_OF = ({one for one, _ in VERB_FORMS}, {many for _, many in VERB_FORMS})


def texts(made: Batch, words: str, which: str = "clean") -> list[str]:
    return made.texts(tokenizer(words), which)


def is_plural(text: str, place: int) -> bool:
    """Of the noun behind so many times "the"."""
    return re.findall(r"[Tt]he (\w+)", text)[place] in PLURALS


@every_vocabulary
@pytest.mark.parametrize(("asked", "alike"), [("agreement", False), ("agreement, same", True)])
def test_the_verb_agrees_with_the_subject_whatever_the_attractor_is(asked, alike, words):
    made = batch(asked, words)
    for row, (clean, corrupt) in enumerate(zip(texts(made, words), texts(made, words, "corrupt"), strict=True)):
        assert is_plural(clean, 0) != is_plural(corrupt, 0)
        assert (is_plural(clean, 0) == is_plural(clean, 1)) is alike
        assert is_plural(corrupt, 1) == is_plural(clean, 1)
        right = {tokenizer(words).decode([token]).strip() for token in made.choices[made.right[row]].tolist()}
        assert right == VERBS_OF[is_plural(clean, 0)]
    assert task("agreement").guess(made) == 0.5


def test_either_number_is_asked_equally_often():
    plural = [is_plural(text, 0) for text in texts(batch("agreement", "gpt2", n=600), "gpt2")]
    assert 0.44 < sum(plural) / len(plural) < 0.56


@every_vocabulary
@pytest.mark.parametrize("asked", ["cloze", "cloze, in place"])
def test_the_clause_alone_tells_the_missing_word(asked, words):
    made = batch(asked, words)
    word_of = {clause: word for word, clause in CLUES}
    for row, (clean, corrupt) in enumerate(zip(texts(made, words), texts(made, words, "corrupt"), strict=True)):
        (told,) = [word for clause, word in word_of.items() if clause in clean]
        (told_instead,) = [word for clause, word in word_of.items() if clause in corrupt]
        assert tokenizer(words).decode(made.target[row : row + 1].tolist()).strip() == told
        assert tokenizer(words).decode(made.distractor[row : row + 1].tolist()).strip() == told_instead


@every_vocabulary
def test_what_is_left_of_the_blank_does_not_tell_the_word(words):
    made = batch("cloze, in place", words, n=1000)
    assert (made.positions["corrupted"].min(1).values > made.positions["answer"][:, 0]).all()
    counts = made.target.bincount()
    assert counts.max() < 3 * 1000 / len(made.choices)


def test_each_clause_and_each_word_come_once():
    assert len({word for word, _ in CLUES}) == len({clause for _, clause in CLUES}) == len(CLUES)
    assert all(word not in clause.split() for word, clause in CLUES)


def decisive(made: Batch, row: int) -> object:
    """What two splits must not share: the two nouns in either number, or the two words and who saw them."""
    text, other = (made.texts(tokenizer("gpt2"), which)[row] for which in ("clean", "corrupt"))
    if made.task == "agreement":
        nouns = re.findall(r"[Tt]he (\w+)", text)
        return frozenset(one for one, many in NOUNS if {one, many} & set(nouns))
    told = [word for word, clause in CLUES if clause in text or clause in other]
    return text.split()[1], frozenset(told)


@pytest.mark.parametrize("asked", ENGLISH_ASKED)
def test_splits_share_no_question(asked):
    seen = {}
    for split in ("train", "test", "calibration"):
        made = batch(asked, "gpt2", split=split)
        seen[split] = {decisive(made, row) for row in range(len(made))}
    assert not seen["train"] & seen["test"]
    assert not seen["calibration"] & (seen["train"] | seen["test"])


@pytest.mark.parametrize("name", ENGLISH)
def test_a_vocabulary_without_the_words_is_refused_by_name(name):
    with pytest.raises(TaskError, match=f"the task {name!r} for .* expected"):
        task(name).examples(tokenizer("words"), 5)


@pytest.mark.parametrize(("name", "scope"), [("agreement", "local"), ("cloze", "global")])
def test_a_task_says_in_a_sentence_what_it_asks_and_why_that_is_local_or_global(name, scope):
    assert f"; it is {scope}, because " in task(name).describe()
    assert len(task(name).describe()) < 220


@pytest.mark.parametrize(
    ("name", "knobs", "told"),
    [("agreement", {"attractor": "sam"}, "Did you mean 'same'"), ("cloze", {"in_place": 1}, "True or False")],
)
def test_a_value_out_of_range_is_told(name, knobs, told):
    with pytest.raises(TaskError, match=told):
        task(name, **knobs)
