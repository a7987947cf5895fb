"""The same seed gives the same examples on any machine: the digests are written down here."""

from __future__ import annotations

import hashlib

import pytest

from probe.tasks import TASKS, Batch, Draw, task
from tests.probe.tasks.vocabularies import ASKED, batch, tokenizer

DIGESTS = {
    "ioi": "4735ad094b9bdcb7",
    "greater_than": "d5a704bb607b2965",
    "induction": "d8b2884384388860",
    "countdown": "8a7d42a632699fd2",
    "sudoku": "507354d002229ab4",
    "paths": "364cfad8b675e8e9",
    "infilling": "3419389aa94e2018",
    "ioi, swap": "073a0acb91dd3c6b",
    "countdown, operand": "4f31818bf18c6812",
    "countdown, all operators": "951b66788d4e62b0",
    "countdown, four": "9317eb504d041f63",
    "sudoku, several": "e24cbb492a7888c2",
    "sudoku, direct": "02a57affb7ae3cd2",
    "paths, random": "13eba317af153731",
    "paths, star": "bc109597db0c3a58",
    "paths, far": "6e51bd511bb44950",
    "infilling, in place": "cedcfe842d5210b0",
    "infilling, two": "7eb9e8278f5cac88",
    "induction, one": "25c48b6925cf4353",
}


def digest(made: Batch) -> str:
    tensors = (made.clean, made.corrupt, made.target, made.distractor, made.choices, made.right, made.wrong)
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest()[:16]


@pytest.mark.parametrize("asked", ASKED)
def test_the_examples_of_a_seed_are_these(asked):
    assert digest(batch(asked)) == DIGESTS[asked]


@pytest.mark.parametrize("name", TASKS)
def test_another_seed_gives_other_examples(name):
    one, other = (task(name).examples(tokenizer("words"), 100, seed=seed) for seed in (0, 1))
    assert not one.clean.equal(other.clean)
    assert digest(task(name).examples(tokenizer("words"), 100, seed=0)) == digest(one)


def test_choices_are_fair_and_the_same_everywhere():
    draw = Draw(7, "test")
    assert [draw.below(10) for _ in range(12)] == [6, 8, 3, 4, 1, 8, 7, 6, 4, 9, 0, 6]
    counts = [0] * 5
    for _ in range(10_000):
        counts[draw.below(5)] += 1
    assert max(counts) - min(counts) < 300
    assert sorted(draw.shuffled(range(9))) == list(range(9))
    assert {draw.between(3, 5) for _ in range(50)} == {3, 4, 5}


def test_two_purposes_of_one_seed_choose_differently():
    one, other = Draw(0, "ioi"), Draw(0, "paths")
    assert [one.below(1000) for _ in range(9)] != [other.below(1000) for _ in range(9)]
