"""Checkers accept every right answer and nothing else; what is right is worked out by trying everything (`truth`)."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from probe.errors import TaskError
from probe.tasks import TASKS, Batch, task
from tests.probe.tasks import truth
from tests.probe.tasks.spelling import question, spelt
from tests.probe.tasks.vocabularies import ASKED, NAMES, batch, tokenizer

IN_ORDER = [asked for asked in ASKED if asked != "infilling, in place"]


def checks(asked: str, made: Batch, row: int, written: list[int]) -> bool:
    which, knobs = ASKED[asked]
    return bool(task(which, **knobs).check(made[row], torch.tensor([written]))[0])


def ids_of(text: str) -> list[int]:
    return tokenizer("words").encode(text, add_special_tokens=False)


@pytest.mark.parametrize("words", NAMES)
@pytest.mark.parametrize("asked", ASKED)
def test_the_completion_itself_is_right(asked, words):
    made = batch(asked, words)
    which, knobs = ASKED[asked]
    assert task(which, **knobs).check(made, made.written()).all()


@pytest.mark.parametrize("asked", IN_ORDER)
def test_the_completion_is_right_by_trying_everything_too(asked):
    made = batch(asked)
    for row in range(60):
        assert truth.RIGHT[ASKED[asked][0]](question(made, row), spelt(made.written()[row]))


@pytest.mark.parametrize("asked", IN_ORDER)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_mutation_is_right_only_if_it_happens_to_be(asked, data):
    made = batch(asked)
    row = data.draw(st.integers(0, len(made) - 1))
    written = made.written()[row].tolist()
    likely = st.sampled_from([*made.choices.tolist(), *written, *ids_of("1 2 3 7 12 05 + - * / A B")])
    for place in data.draw(st.sets(st.integers(0, len(written) - 1), min_size=1)):
        written[place] = data.draw(likely | st.integers(0, len(tokenizer("words")) - 1))
    expected = truth.RIGHT[ASKED[asked][0]](question(made, row), spelt(torch.tensor(written)))
    assert checks(asked, made, row, written) == expected


@pytest.mark.parametrize("asked", ["countdown", "countdown, operand", "countdown, four", "countdown, all operators"])
def test_every_other_equation_is_accepted(asked):
    made = batch(asked)
    operators = made.facts[0]["operators"]
    more_than_one = 0
    for row in range(40):
        answers = truth.countdown_answers(question(made, row), operators)
        more_than_one += len(answers) > 1
        assert all(checks(asked, made, row, ids_of(answer)) for answer in answers)
    assert more_than_one > 5


def test_equations_that_are_none_are_rejected():
    made = batch("countdown")
    for text in ("+ + + + +", "2 2 2 2 2", "1 + 2 + +", "[MASK] + 1 + 2", "- 2 + 3 +"):
        assert not checks("countdown", made, 0, ids_of(text))


def test_every_other_filling_of_a_sudoku_is_accepted():
    made = batch("sudoku, several")
    ambiguous = 0
    for row in range(60):
        answers = truth.sudoku_answers(question(made, row))
        ambiguous += len(answers) > 1
        assert all(checks("sudoku, several", made, row, ids_of(" ".join(map(str, answer)))) for answer in answers)
    assert ambiguous > 10


def test_every_other_path_is_accepted_and_no_other_walk():
    made = batch("paths, random")
    letters = sorted({letter for edge in made.facts[0]["edges"] for letter in edge})
    several = 0
    for row in range(60):
        answers = truth.paths_answers(question(made, row))
        several += len(answers) > 1
        assert all(checks("paths, random", made, row, ids_of(answer)) for answer in answers)
    assert several > 2
    right = truth.paths_answers(question(made, 0))
    walks = {" ".join(walk) for walk in itertools.product(letters, repeat=3)}
    assert {walk for walk in walks if checks("paths, random", made, 0, ids_of(walk))} == right


@pytest.mark.parametrize("words", NAMES)
def test_every_later_year_of_the_century_is_accepted_and_no_other(words):
    made = batch("greater_than", words)
    at = made.positions["completion"].shape[1]
    digits = len(tokenizer(words).decode(made.written()[0].tolist()).strip())
    for row in range(0, 30, 3):
        start = made.facts[row]["start"]
        for end in range(start // 100 * 100 + 10, start // 100 * 100 + 100):
            written = tokenizer(words).encode(f" {end}", add_special_tokens=False)[-at:]
            # Some years are cut otherwise than those of the batch (GPT-2's " 115", "1").
            if len(tokenizer(words).decode(written).strip()) == digits:
                assert checks("greater_than", made, row, written) == (end > start), (start, end)


@pytest.mark.parametrize("words", NAMES)
@pytest.mark.parametrize("asked", ["countdown", "countdown, operand", "sudoku", "paths", "paths, random"])
def test_what_is_right_at_the_slot_is_what_a_right_answer_can_begin_with(asked, words):
    """The asked slot has one right token, given what is left of it: no other choice leads to a right answer."""
    made = batch(asked, words)
    answers_of = {"sudoku": lambda text: [" ".join(map(str, each)) for each in truth.sudoku_answers(text)]}
    answers_of |= {"countdown": lambda text: truth.countdown_answers(text, "+-*"), "paths": truth.paths_answers}
    for row in range(40):
        offset = int(made.positions["answer"][row, 0] - made.positions["completion"][row, 0])
        whole = [
            tokenizer(words).encode("1 " + answer, add_special_tokens=False)[-made.written().shape[1] :]
            for answer in answers_of[ASKED[asked][0]](question(made, row, words))
        ]
        left = made.written()[row, :offset].tolist()
        fits = {ids[offset] for ids in whole if ids[:offset] == left}
        assert fits == {int(made.target[row])} == set(made.choices[made.right[row]].tolist())


def test_answers_of_another_shape_are_told():
    made = batch("countdown")
    with pytest.raises(TaskError, match="positions\\['completion'\\]"):
        task("countdown").check(made, made.clean)


def test_an_unknown_token_is_only_wrong():
    for name in TASKS:
        made = batch(name)
        assert not task(name).check(made, torch.full_like(made.written(), tokenizer("words").mask_token_id)).any()


@pytest.mark.parametrize("asked", ["countdown", "countdown, operand", "countdown, all operators"])
def test_near_misses_are_rejected(asked):
    """The right numbers in every order with every operator: right only where they come to the goal."""
    made = batch(asked)
    for row in range(4):
        given, operators = made.facts[row]["numbers"], made.facts[row]["operators"]
        for order, signs in itertools.product(itertools.permutations(given), itertools.product(operators, repeat=2)):
            text = f"{order[0]} {signs[0]} {order[1]} {signs[1]} {order[2]}"
            assert checks(asked, made, row, ids_of(text)) == truth.countdown(question(made, row), text), text
