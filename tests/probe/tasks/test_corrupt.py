"""The corrupt question really asks for something else: what it makes right is found by trying everything (`truth`)."""

from __future__ import annotations

import re

import pytest
import torch

from probe.tasks.word_lists import RIDDLES
from tests.probe.tasks import truth
from tests.probe.tasks.spelling import question, spelt
from tests.probe.tasks.vocabularies import ASKED, NAMES, batch, tokenizer

EVERY_ANSWER = {
    "countdown": lambda text: truth.countdown_answers(text, "+-*"),
    "sudoku": lambda text: {" ".join(map(str, answer)) for answer in truth.sudoku_answers(text)},
    "paths": truth.paths_answers,
}
PLANNED = [asked for asked in ASKED if ASKED[asked][0] in EVERY_ANSWER and asked != "countdown, all operators"]


@pytest.mark.parametrize("asked", PLANNED)
@pytest.mark.parametrize(("which", "token"), [("clean", "target"), ("corrupt", "distractor")])
def test_after_the_same_left_part_only_one_token_is_right(asked, which, token):
    """Clean makes the target right and corrupt the distractor, and neither leaves another."""
    made = batch(asked)
    for row in range(60):
        offset = int(made.positions["answer"][row, 0] - made.positions["completion"][row, 0])
        left = spelt(made.written()[row, :offset]).split()
        answers = [answer.split() for answer in EVERY_ANSWER[ASKED[asked][0]](question(made, row, which=which))]
        assert {answer[offset] for answer in answers if answer[:offset] == left} == {
            spelt(getattr(made, token)[row : row + 1]).strip()
        }


@pytest.mark.parametrize("asked", ["ioi, swap", "induction", "induction, one", "infilling", "greater_than"])
def test_the_distractor_is_wrong_before_and_right_after(asked):
    made = batch(asked)
    right = truth.RIGHT[ASKED[asked][0]]
    for row in range(len(made)):
        distractor = spelt(made.distractor[row : row + 1])
        assert not right(question(made, row), distractor)
        assert right(question(made, row, which="corrupt"), distractor)
        if asked != "greater_than":  # where a later year stays right
            assert not right(question(made, row, which="corrupt"), spelt(made.written()[row]))


def test_a_third_name_leaves_both_people_open():
    made = batch("ioi")
    for row in range(len(made)):
        names = {place: int(made.clean[row, made.positions[place][row, 0]]) for place in ("subject", "indirect_object")}
        assert made.target[row] == names["indirect_object"]
        assert made.distractor[row] == names["subject"]
        assert int(made.corrupt[row, made.positions["second_subject"][row, 0]]) not in names.values()


def test_either_person_is_named_first_equally_often():
    made = batch("ioi", n=1000)
    share = (made.positions["subject"] < made.positions["indirect_object"]).float().mean()
    assert 0.45 < share < 0.55


def test_the_year_itself_is_wrong_where_the_token_says_all_of_it():
    made = batch("greater_than")
    start = made.clean.gather(1, made.positions["start_year"])
    assert (made.wrong | (made.choices != start)).all()
    for row in range(20):
        later = {int(spelt(token[None])) for token in made.choices[made.right[row]]}
        assert later == set(range(made.facts[row]["start"] % 100 + 1, 100))


@pytest.mark.parametrize("words", ["llama2", "qwen3"])
def test_a_tens_digit_that_leaves_it_to_the_units_is_neither(words):
    made = batch("greater_than", words)
    for row in range(20):
        tens = made.facts[row]["start"] // 10 % 10
        says = {int(tokenizer(words).decode([int(token)])): i for i, token in enumerate(made.choices)}
        assert [digit for digit, i in says.items() if made.right[row, i]] == [d for d in says if d > tens]
        assert [digit for digit, i in says.items() if made.wrong[row, i]] == [d for d in says if d < tens]


def test_each_clue_alone_fits_several_things_and_both_together_one():
    made = batch("infilling")
    uses = {thing: use for thing, _, use in RIDDLES}
    for row in range(60):
        text = question(made, row)
        use, owner = re.search(r"is a thing to (\w+) that (\w+) has", text).groups()
        owned = {who: things for who, *things in re.findall(r"(\w+) has the (\w+) and the (\w+)", text)}
        every = [thing for things in owned.values() for thing in things]
        assert len(owned[owner]) == 2
        assert len([thing for thing in every if uses[thing] == use]) == 3
        assert len([thing for thing in owned[owner] if uses[thing] == use]) == 1


@pytest.mark.parametrize("words", NAMES)
def test_in_place_only_what_is_right_of_the_blank_changes(words):
    made = batch("infilling, in place", words)
    assert (made.positions["corrupted"].min(1).values > made.positions["answer"][:, 0]).all()
    left = made.clean[:, : int(made.positions["answer"].min())]
    assert ((left == made.target[:, None]).sum(1) == 1).all()  # offered there, as all others are


def test_what_is_left_of_the_blank_does_not_tell_the_word():
    """Each of the things that are offered is the answer as often as the others, wherever it stands."""
    made = batch("infilling, in place", n=4000)
    offered = made.clean.gather(1, torch.cat([made.positions["source"], made.positions["decoys"]], 1)).sort(1)
    stands = torch.cat([made.positions["source"], made.positions["decoys"]], 1).sort(1).values[0]
    at = made.clean[:, stands] == made.target[:, None]
    assert (at.sum(1) == 1).all()
    assert (at.float().mean(0) - 1 / at.shape[1]).abs().max() < 0.03
    assert (offered.values[:, 1:] != offered.values[:, :-1]).all()


def test_the_asked_cell_is_not_settled_by_its_own_row_column_and_quarter():
    made = batch("sudoku")
    for row in range(60):
        grid = truth.clues(question(made, row))
        blanks = [cell for cell, digit in enumerate(grid) if not digit]
        asked = int(made.positions["answer"][row, 0] - made.positions["completion"][row, 0])
        for cell, digit in zip(blanks[:asked], spelt(made.written()[row, :asked]).split(), strict=True):
            grid[cell] = int(digit)
        seen = {grid[other] for other in range(16) if truth._meet(blanks[asked], other)} - {0}
        assert len(seen) < 3


@pytest.mark.parametrize("asked", ["countdown", "countdown, operand", "countdown, four"])
def test_slots_that_are_named_are_settled_by_what_is_left_of_them(asked):
    made = batch(asked)
    for row in range(40):
        answers = [answer.split() for answer in truth.countdown_answers(question(made, row), "+-*")]
        written, start = spelt(made.written()[row]).split(), int(made.positions["completion"][row, 0])
        settled = {
            start + i
            for i in range(len(written))
            if len({answer[i] for answer in answers if answer[:i] == written[:i]}) == 1
        }
        named = torch.cat([made.positions[name][row] for name in ("operator", "operand")])
        assert set(named.tolist()) == settled
