"""Countdown: make a number out of others, each used once.

    Make 24 from 3, 9, 5: 3 * 5 + 9

Numbers are used once each, multiplication and division bind before addition and subtraction, and a division must come
out even. Any equation that does so is right, but the slot that is asked has one right token only, given what stands
to its left: the first operator after the first number ("operator"), or the second number after both ("operand"). The
corrupt prompt asks for another goal from the same numbers, so chosen that, after the same left part, another operator
(or operand) is the only right one: the distractor. To know which, one has to look ahead to the end of the equation.

`positions` names, in the completion, all operator and operand slots that are unambiguous given what is left of them.
Examples with the same numbers are in one split whatever the goal and the order, so a corrupt prompt never leaves it.
Tokenizers that write digits singly get numbers of one digit and goals of two, so that all examples stay of one
length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from probe.tasks.arithmetic import OPERATORS, REMEMBERED, Equation, parse, solutions, value
from probe.tasks.draw import Draw
from probe.tasks.example import Example, Piece
from probe.tasks.task import Task, knob_error, one_of, within
from probe.tasks.words import Words

SLOTS = {"operator": 1, "operand": 2}  # where the asked slot is in the equation


class Question(NamedTuple):
    """A goal, a right equation, and the other goals with what they make right in place of the asked part."""

    goal: int
    equation: Equation
    others: list[tuple[int, int | str]]


@dataclass(frozen=True)
class Countdown(Task):
    """`numbers` of them, from 1 to `largest`, joined by `operators`; `ask` for an operator or an operand."""

    name = "countdown"
    scope = "global"
    asks = "An equation that reaches the goal with the given numbers is asked"
    because = "its beginning is right only if the rest can still reach the goal"
    corrupts = ("goal",)

    numbers: int = 3
    largest: int = 19
    operators: str = "+-*"
    ask: str = "operator"

    def __post_init__(self) -> None:
        within(self, "numbers", 3, 4)
        within(self, "largest", 3, 99)
        one_of(self, "ask", tuple(SLOTS))
        given = set(self.operators) if isinstance(self.operators, str) else set()
        if len(given) < 2 or len(given) < len(self.operators) or not given <= set(OPERATORS):
            raise knob_error(
                self, "operators", f"two or more different ones of {OPERATORS}", "Write them without spaces."
            )

    def make(self, words: Words, draw: Draw) -> Iterator[Example | None]:
        usable = _alike(words, range(1, self.largest + 1), like=2)
        goals = frozenset(_alike(words, range(1, 100), like=24))
        words.single(self.operators, "operators", at_least=len(self.operators))
        asked = SLOTS[self.ask]
        offered = tuple(f" {token}" for token in (self.operators if self.ask == "operator" else usable))
        while True:
            numbers = tuple(sorted(draw.choice(usable) for _ in range(self.numbers)))
            questions = _questions(numbers, self.operators, asked, goals)
            if not questions:
                yield None
                continue
            # By its operators first: equations that only add are many, and would drown the others.
            goal, equation, others = draw.choice(draw.choice(questions))
            other_goal, instead = draw.choice(others)
            yield Example(
                key=numbers,
                prompt=(
                    *("Make", Piece(f" {goal}", "goal", corrupt=f" {other_goal}"), " from"),
                    *_listed(draw.shuffled(numbers)),
                    ":",
                ),
                completion=_completion(equation, numbers, self.operators, goal),
                asked=asked,
                distractor=f" {instead}",
                choices=offered,
                facts={"numbers": numbers, "goal": goal, "operators": self.operators},
            )

    def accepts(self, facts: Mapping[str, Any], text: str) -> bool:
        equation = parse(text)
        return (
            equation is not None
            and tuple(sorted(equation[::2])) == tuple(facts["numbers"])
            and all(operator in facts["operators"] for operator in equation[1::2])
            and value(equation) == facts["goal"]
        )


def _alike(words: Words, numbers: range, like: int) -> list[int]:
    """The numbers that take as many tokens as `like`."""
    length = len(words.spell(f" {like}"))
    return [number for number in numbers if len(words.spell(f" {number}")) == length]


def _listed(numbers: list[int]) -> Iterator[str | Piece]:
    for i, number in enumerate(numbers):
        if i:
            yield ","
        yield Piece(f" {number}", "numbers")


def _next(equations: list[Equation], left: Equation) -> set[int | str]:
    """What may come after `left` in one of the equations."""
    return {equation[len(left)] for equation in equations if equation[: len(left)] == left}


@lru_cache(REMEMBERED)
def _completion(equation: Equation, numbers: tuple[int, ...], operators: str, goal: int) -> list[Piece]:
    """The equation's pieces; those which are the only right ones given their left are named."""
    pieces, right = [], solutions(numbers, operators)[goal]
    for i, part in enumerate(equation):
        kind = "operator" if i % 2 else "operand"
        pieces.append(Piece(f" {part}", kind if len(_next(right, equation[:i])) == 1 else None))
    return pieces


@lru_cache(REMEMBERED)
def _questions(numbers: tuple[int, ...], operators: str, asked: int, goals: frozenset[int]) -> list[list[Question]]:
    """What can be asked of these numbers, grouped by the operators of the equation.

    The asked part must be the only right one after what is left of it, for the goal and for each of the other goals.
    """
    only: dict[Equation, dict[int, int | str]] = {}
    reachable = {goal: found for goal, found in solutions(numbers, operators).items() if goal in goals}
    for goal, found in reachable.items():
        nexts: dict[Equation, set[int | str]] = {}
        for equation in found:
            nexts.setdefault(equation[:asked], set()).add(equation[asked])
        for left, parts in nexts.items():
            if len(parts) == 1:
                only.setdefault(left, {})[goal] = next(iter(parts))
    questions: dict[Equation, list[Question]] = {}
    for goal, found in reachable.items():
        for equation in found:
            after = only.get(equation[:asked], {})
            others = (
                [(other, part) for other, part in after.items() if part != equation[asked]] if goal in after else []
            )
            if others:
                questions.setdefault(equation[1::2], []).append(Question(goal, equation, others))
    return list(questions.values())
