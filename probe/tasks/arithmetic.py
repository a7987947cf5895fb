"""Equations written in a row, read with ordinary precedence: what they come to, and which numbers can come to what."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

Equation = tuple["int | str", ...]  # number, operator, number, operator, ..., number
OPERATORS = "+-*/"
REMEMBERED = 10_000  # sets of numbers whose equations are kept, since the same ones are drawn again and again
NUMBER = "(?:0|[1-9][0-9]*)"
FORM = re.compile(rf"\s*{NUMBER}(\s*[-+*/]\s*{NUMBER})*\s*")


def value(equation: Sequence[int | str]) -> int | None:
    """What an equation comes to, * and / binding first, or None where a division leaves a remainder."""
    total, sign, term = 0, 1, int(equation[0])
    for i in range(1, len(equation), 2):
        operator, number = equation[i], int(equation[i + 1])
        if operator == "*":
            term *= number
        elif operator == "/":
            if number == 0 or term % number:
                return None
            term //= number
        else:
            total, sign, term = total + sign * term, 1 if operator == "+" else -1, number
    return total + sign * term


def parse(text: str) -> Equation | None:
    """The equation that a text says, or None if it is none."""
    if not FORM.fullmatch(text):
        return None
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"[0-9]+|[-+*/]", text))


def equations(numbers: Sequence[int], operators: str) -> Iterator[Equation]:
    """Every equation that uses each of the numbers once, each only once."""
    for order in sorted(set(itertools.permutations(numbers))):
        for signs in itertools.product(operators, repeat=len(numbers) - 1):
            yield (*(part for pair in zip(order, signs, strict=False) for part in pair), order[-1])


@lru_cache(REMEMBERED)
def solutions(numbers: tuple[int, ...], operators: str) -> dict[int, list[Equation]]:
    """What the numbers can come to, and by which equations."""
    found: dict[int, list[Equation]] = {}
    for equation in equations(numbers, operators):
        result = value(equation)
        if result is not None:
            found.setdefault(result, []).append(equation)
    return found
