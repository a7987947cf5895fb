"""Sudoku of four by four: fill the blanks so that every row, column and quarter holds 1 to 4.

    Grid 1 _ 3 4 / 3 4 _ 2 / 2 _ 4 _ / _ 3 2 1 : 2 1 1 3 4

The missing digits are written in reading order. The corrupt prompt is the same puzzle with two digits exchanged in
its clues, one of them the asked cell's, so that the other is right there; blanks filled before the asked one hold
neither, so that what is left of it fits both puzzles.

Most blanks of so small a grid are settled by their own row, column and quarter: one look there is enough. Those are
not asked, unless `direct` is set. For the others one has to think of what the blanks still to be written must hold.

There are 288 grids. Up to renaming the digits they are 12, and that is the symmetry the splits respect: a grid and
all its renamings are in one split, the corrupt one's too. (If rows, columns and quarters may be exchanged as well,
only 2 kinds are left, fewer than there are splits.)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from probe.tasks.draw import Draw
from probe.tasks.example import Example, Piece, piece
from probe.tasks.task import Task, switch, within
from probe.tasks.words import Words

CELLS, SIDE = 16, 4
UNITS = [
    *([row * SIDE + i for i in range(SIDE)] for row in range(SIDE)),
    *([i * SIDE + column for i in range(SIDE)] for column in range(SIDE)),
    *([(top + i) * SIDE + left + j for i in (0, 1) for j in (0, 1)] for top in (0, 2) for left in (0, 2)),
]
Grid = tuple[int, ...]  # 16 digits in reading order, 0 for a blank


@dataclass(frozen=True)
class Sudoku(Task):
    """`blanks` cells are missing. With `unique`, one completion is right; otherwise the asked cell alone is sure.
    With `direct`, cells may be asked that their own row, column and quarter settle."""

    name = "sudoku"
    scope = "global"
    asks = "A 4x4 sudoku is shown with blanks: the missing digits are asked, in reading order"
    because = "the asked cell, which its row, column and quarter leave open, is settled by the other blanks"
    corrupts = ("clues",)

    blanks: int = 8
    unique: bool = True
    direct: bool = False

    def __post_init__(self) -> None:
        within(self, "blanks", 4, 12)
        switch(self, "unique")
        switch(self, "direct")

    def make(self, words: Words, draw: Draw) -> Iterator[Example | None]:
        digits = tuple(f" {digit}" for digit in range(1, SIDE + 1))
        while True:
            grid = draw.choice(grids())
            key = renamed(grid)
            if not draw.wanted(key):  # eleven of twelve grids, where the twelfth alone is for calibration
                yield None
                continue
            blanks = sorted(draw.sample(range(CELLS), self.blanks))
            asked, instead = draw.choice(_questions(grid, blanks))
            if (
                (not self.direct and len(_candidates(grid, blanks, asked)) == 1)
                or (self.unique and len(agreeing(grid, set(range(CELLS)).difference(blanks))) > 1)
                or (not self.unique and not _settled(grid, blanks, asked))
            ):
                yield None
                continue
            swap = {grid[blanks[asked]]: instead, instead: grid[blanks[asked]]}
            yield Example(
                key=key,
                prompt=("Grid", *_shown(grid, blanks, blanks[asked], swap), " :"),
                completion=tuple(f" {grid[cell]}" for cell in blanks),
                asked=asked,
                distractor=f" {instead}",
                choices=digits,
                facts={"clues": tuple(0 if cell in blanks else digit for cell, digit in enumerate(grid))},
            )

    def accepts(self, facts: Mapping[str, Any], text: str) -> bool:
        written = "".join(text.split())
        clues = facts["clues"]
        if len(written) != clues.count(0) or not set(written) <= set("1234"):
            return False
        fill = iter(map(int, written))
        return is_solved(tuple(clue or next(fill) for clue in clues))


def is_solved(grid: Grid) -> bool:
    return all(len({grid[cell] for cell in unit}) == SIDE for unit in UNITS)


@cache
def grids() -> list[Grid]:
    """All 288 completed grids, in lexicographic order."""
    rows = list(itertools.permutations(range(1, SIDE + 1)))
    halves = [one + two for one in rows for two in rows if len({*one[:2], *two[:2]}) == SIDE and not _clash(one, two)]
    return [grid for top in halves for bottom in halves if is_solved(grid := top + bottom)]


@cache
def renamed(grid: Grid) -> Grid:
    """The grid with its digits renamed in the order in which they come: the same for all renamings of a grid."""
    names: dict[int, int] = {}
    return tuple(names.setdefault(digit, len(names) + 1) for digit in grid)


def _clash(one: tuple[int, ...], two: tuple[int, ...]) -> bool:
    return any(a == b for a, b in zip(one, two, strict=True))


@cache
def _agreements() -> dict[Grid, np.ndarray]:
    """For each grid, the cells in which each of the grids agrees with it, as bits."""
    table = np.array(grids())
    bits = 1 << np.arange(CELLS)
    return {grid: (table == np.array(grid)) @ bits for grid in grids()}


def agreeing(grid: Grid, cells: Iterable[int]) -> list[Grid]:
    """The completed grids that agree with `grid` in the given cells."""
    mask = sum(1 << cell for cell in cells)
    return [grids()[i] for i in np.flatnonzero((_agreements()[grid] & mask) == mask)]


def _settled(grid: Grid, blanks: list[int], asked: int) -> bool:
    """Whether the clues and the blanks before the asked one leave it only one digit."""
    known = set(range(CELLS)).difference(blanks[asked:])
    return len({solved[blanks[asked]] for solved in agreeing(grid, known)}) == 1


def _candidates(grid: Grid, blanks: list[int], asked: int) -> set[int]:
    """The digits that the asked cell's row, column and quarter leave it, as far as they are filled."""
    empty = blanks[asked:]
    filled = {grid[cell] for unit in UNITS if empty[0] in unit for cell in unit if cell not in empty}
    return set(range(1, SIDE + 1)) - filled


def _questions(grid: Grid, blanks: list[int]) -> list[tuple[int, int]]:
    """Which blank can be asked, and the digit to exchange with its own, so that the blanks before it hold neither."""
    found: list[tuple[int, int]] = []
    before: set[int] = set()
    for asked, cell in enumerate(blanks):
        if grid[cell] not in before:
            found += [(asked, other) for other in range(1, SIDE + 1) if other != grid[cell] and other not in before]
        before.add(grid[cell])
    return found


def _shown(grid: Grid, blanks: list[int], asked: int, swap: dict[int, int]) -> Iterator[str | Piece]:
    for cell, digit in enumerate(grid):
        if cell and cell % SIDE == 0:
            yield " /"
        if cell in blanks:
            yield piece(" _", "asked_cell" if cell == asked else "blanks")
        else:
            yield piece(f" {digit}", "clues", f" {swap.get(digit, digit)}")
