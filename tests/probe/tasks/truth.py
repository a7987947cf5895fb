"""Whether an answer is right, worked out from the text alone and by other means than the tasks': by trying everything.

A question is read from the words of its prompt, as a person would, so that neither the facts of a batch nor the code
that made them is believed.
"""

from __future__ import annotations

import ast
import itertools
import re

from probe.tasks.word_lists import RIDDLES


def countdown(prompt: str, written: str) -> bool:
    goal, *given = map(int, re.findall(r"\d+", prompt))
    if not re.fullmatch(r"( ?(0|[1-9][0-9]*|[-+*/]))+", written):
        return False
    try:
        tree = ast.parse(written.strip(), mode="eval").body
    except SyntaxError:
        return False
    used = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    unary = any(isinstance(node, ast.UnaryOp) for node in ast.walk(tree))
    return not unary and sorted(used) == sorted(given) and _value(tree) == goal


def _value(tree: ast.expr) -> float:
    if isinstance(tree, ast.Constant):
        assert isinstance(tree.value, int)
        return tree.value
    assert isinstance(tree, ast.BinOp)
    left, right = _value(tree.left), _value(tree.right)
    match tree.op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case _:
            return left / right if right and left % right == 0 else float("nan")


def countdown_answers(prompt: str, operators: str) -> set[str]:
    _, *given = re.findall(r"\d+", prompt)
    orders = itertools.product(itertools.permutations(given), itertools.product(operators, repeat=len(given) - 1))
    equations = (" ".join([n for pair in zip(o, [*s, ""], strict=True) for n in pair]).strip() for o, s in orders)
    return {equation for equation in equations if countdown(prompt, equation)}


def clues(prompt: str) -> list[int]:
    return [0 if sign == "_" else int(sign) for sign in re.findall(r"[1-4_]", prompt.split("Grid")[1])]


def sudoku(prompt: str, written: str) -> bool:
    return written.split() in [list(map(str, answer)) for answer in sudoku_answers(prompt)]


def sudoku_answers(prompt: str) -> list[list[int]]:
    """Every filling of the blanks, by trying digits one after another."""
    grid = clues(prompt)
    blanks = [cell for cell, digit in enumerate(grid) if not digit]
    return [[solved[cell] for cell in blanks] for solved in _fill(grid)]


def _fill(grid: list[int]) -> list[list[int]]:
    if 0 not in grid:
        return [grid]
    cell = grid.index(0)
    taken = {grid[other] for other in range(16) if _meet(cell, other)}
    return [done for digit in {1, 2, 3, 4} - taken for done in _fill([*grid[:cell], digit, *grid[cell + 1 :]])]


def _meet(a: int, b: int) -> bool:
    (row, column), (other_row, other_column) = divmod(a, 4), divmod(b, 4)
    quarter = (row // 2, column // 2) == (other_row // 2, other_column // 2)
    return row == other_row or column == other_column or quarter


def graph(prompt: str) -> tuple[set[tuple[str, str]], str, str]:
    read = re.fullmatch(r"\s*Edges (.*?) ?: (\w to \w) ?:\s*", prompt)
    assert read is not None
    listed, query = read.groups()
    start, _, goal = query.split()
    return {(one, other) for one, other in map(str.split, re.split(r" ?, ?", listed))}, start, goal


def paths_answers(prompt: str) -> set[str]:
    """The shortest ways, by breadth first."""
    edges, start, goal = graph(prompt)
    ways = [[start]]
    while ways:
        found = {" ".join(way[1:]) for way in ways if way[-1] == goal}
        if found:
            return found
        ways = [[*way, b] for way in ways for a, b in edges if a == way[-1] and b not in way]
    return set()


def paths(prompt: str, written: str) -> bool:
    return " ".join(written.split()) in paths_answers(prompt)


def greater_than(prompt: str, written: str) -> bool:
    """The century stands in the prompt, the rest of the year is written."""
    start, end = re.fullmatch(r".* from the year (\d\d ?\d\d) to the year ?(\d*)", prompt).groups()
    year = end + written.replace(" ", "")
    return re.fullmatch(r"\d{4}", year) is not None and int(year) > int(start.replace(" ", ""))


def ioi(prompt: str, written: str) -> bool:
    names = re.match(r"\w+ (\w+) and (\w+) .* , (\w+) ", prompt.replace(",", " ,").replace("  ", " ")).groups()
    first, second, repeated = names
    return written.split() == [{first: second, second: first}.get(repeated)]


def induction(prompt: str, written: str) -> bool:
    *listed, last = prompt.split(":")[1].split()
    return written.split() == [listed[listed.index(last) + 1]]


def infilling(prompt: str, written: str) -> bool:
    use, owner = re.search(r"is a thing to (\w+) that (\w+) has", prompt).groups()
    owned = re.search(rf"{owner} has the (\w+) and the (\w+)", prompt).groups()
    uses = {thing: use for thing, _, use in RIDDLES}
    return written.split() in [[thing] for thing in owned if uses[thing] == use]


RIGHT = {each.__name__: each for each in (countdown, sudoku, paths, greater_than, ioi, induction, infilling)}
