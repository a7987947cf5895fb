"""A task of one's own: the example of `probe.tasks.task`, as it is written there, and what its author gets wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import dedent

import pytest

from probe.errors import TaskError
from probe.tasks import Example, Piece, Task
from probe.tasks import task as task_of
from tests.probe.tasks.vocabularies import PUBLISHED, tokenizer

CAPITALS = {"France": "Paris", "Spain": "Madrid", "Italy": "Rome", "Germany": "Berlin", "England": "London"}


@pytest.fixture
def capitals() -> Task:
    """The class out of the docstring, so that it cannot rot."""
    import sys

    documented = sys.modules["probe.tasks.task"].__doc__
    source = re.search(r"    @dataclass\(frozen=True\)\n(?:    .*\n|\n)+?(?=\n    batch = )", documented).group()
    namespace = {"dataclass": dataclass, "Task": Task, "Example": Example, "Piece": Piece, "CAPITALS": CAPITALS}
    exec(dedent(source), namespace)
    return namespace["Capitals"]()


@pytest.mark.parametrize("words", PUBLISHED)
def test_the_documented_task_works_as_it_is_written(capitals, words):
    made = capitals.examples(tokenizer(words), n=100, split="train", fewer=True)
    assert made.task == "capitals"
    for text, corrupt in zip(made.texts(tokenizer(words)), made.texts(tokenizer(words), "corrupt"), strict=True):
        country, capital = re.fullmatch(r"The capital of (\w+) is (\w+)", text).groups()
        assert CAPITALS[country] == capital
        assert country not in corrupt
    assert made.clean.gather(1, made.positions["country"]).ne(made.corrupt.gather(1, made.positions["country"])).all()
    assert capitals.check(made, made.written()).all()
    assert capitals.describe() == (
        "The capital of a country is asked; it is local, because the country is named to the left."
    )


def test_a_distractor_that_is_another_capital_is_wrong(capitals):
    made = capitals.examples(tokenizer("gpt2"), n=3, split="train", fewer=True)
    assert not capitals.check(made, made.distractor[:, None]).any()
    assert made.wrong[made.choices == made.distractor[:, None]].all()


@dataclass(frozen=True)
class Own(Task):
    """Yields what it is given, over and over with another key."""

    given: tuple = ()

    name, scope = "own", "local"
    asks, because = "Something is asked", "it is"

    def make(self, words, draw):
        for i in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
            for example in self.given:
                yield Example(**{"key": (i,), "prompt": ("Go", Piece(" up", "way", corrupt=" down"), f" {i}"),
                                 "completion": (" yes",), "distractor": " no", **example})  # fmt: skip

    def accepts(self, facts, text):
        return text == facts["wanted"] if "wanted" in facts else None


def own(*given: dict, words: str = "gpt2"):
    return Own(given).examples(tokenizer(words), 5, fewer=True)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"prompt": ("Go", Piece(" up", corrupt=" upside down"))},
            "as many tokens for a piece as for its corrupt form",
        ),
        ({"prompt": ("Go", " up")}, "a corrupt prompt that differs from the clean one"),
        ({"distractor": " yes"}, "a distractor whose tokens differ from the target's"),
        ({"right": (" no",)}, "target among what is right"),
    ],
)
def test_an_example_that_cannot_be_compared_is_refused(given, told):
    with pytest.raises(TaskError, match=told):
        own(given)


def test_examples_of_unequal_length_or_with_other_places_are_refused():
    longer = {"prompt": ("Go", Piece(" up", "way", corrupt=" down"), " and", " on")}
    with pytest.raises(TaskError, match="of one length in tokens; found 1 of 4 tokens to complete in one"):
        own({}, longer)
    unnamed = {"prompt": ("Come", Piece(" up", corrupt=" down"), " A")}
    with pytest.raises(TaskError, match="the same named places in every example; found one without way"):
        own({}, unnamed)


@pytest.mark.parametrize("words", PUBLISHED)
def test_a_checker_is_handed_the_text_as_it_reads(words):
    """Letters that are cut in two bytes, or written in signs of their own, come out whole."""
    capital = " Brasília, Ñuñoa – 東京 𝄞"
    made = own({"completion": (capital,), "facts": {"wanted": capital}}, words=words)
    assert Own().check(made, made.written()).all()
    assert not Own().check(made, made.written().flip(1)).any()


def test_without_a_checker_only_the_completion_is_right():
    made = own({})
    assert Own().check(made, made.written()).all()
    assert not Own().check(made, made.distractor[:, None]).any()


def test_tasks_compare_by_name_and_knobs():
    assert task_of("countdown") == task_of("countdown", numbers=3) != task_of("countdown", numbers=4)
