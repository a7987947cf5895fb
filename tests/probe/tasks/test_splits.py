"""The splits never share an example, for any seed and any n, in whatever way it is written."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from probe.errors import TaskError
from probe.tasks import SHARES, TASKS, Draw, Words, split_of, task
from probe.tasks.paths import shape
from probe.tasks.sudoku import grids, renamed
from tests.probe.tasks import truth
from tests.probe.tasks.spelling import question
from tests.probe.tasks.vocabularies import ASKED, batch, tokenizer


def same_up_to_renaming(grid: list[int]) -> tuple[int, ...]:
    """The least of a grid's 24 renamings."""
    return min(tuple(new[digit - 1] for digit in grid) for new in itertools.permutations((1, 2, 3, 4)))


def solved(text: str) -> list[int]:
    fill = iter(truth.sudoku_answers(text)[0])
    return [digit or next(fill) for digit in truth.clues(text)]


def numbers_of(text: str) -> tuple[int, ...]:
    return tuple(sorted(map(int, text.split("from")[1].rstrip(" :").split(","))))


def people_and_things(text: str) -> tuple:
    """Whoever of the two comes first, and whatever the template."""
    one, other = text.split()[1], text.split()[3]
    return frozenset((one, other)), text.split(",")[0].split()[-1], text.split()[-2]


# What of a question must not come in two splits, from its text alone.
SAME: dict[str, Callable[[str], object]] = {
    "ioi": people_and_things,
    "ioi, swap": people_and_things,
    "greater_than": lambda text: (text.split()[1], text.split("from the year")[1].split("to")[0]),
    "induction": lambda text: frozenset(text.split(":")[1].split()),
    "countdown": numbers_of,
    "countdown, operand": numbers_of,
    "sudoku": lambda text: same_up_to_renaming(solved(text)),
    "paths": lambda text: frozenset(truth.graph(text)[0]),
    "infilling": lambda text: frozenset(re.findall(r"(\w+) has the (\w+) and the (\w+)", text)),
}


@pytest.mark.parametrize("asked", SAME)
def test_splits_share_nothing_across_seeds_sizes_and_corrupt_prompts(asked):
    shown = ("clean",) if asked == "greater_than" else ("clean", "corrupt")  # whose corrupt years are shared by intent
    seen = {split: set() for split in SHARES}
    for split, (seed, n), which in itertools.product(SHARES, ((0, 150), (1, 60), (2, 7)), shown):
        made = batch(asked, n=n, seed=seed, split=split)
        seen[split] |= {SAME[asked](question(made, row, which=which)) for row in range(n)}
    for one, other in itertools.combinations(SHARES, 2):
        assert not seen[one] & seen[other]


@pytest.mark.parametrize("name", [name for name in TASKS if name != "sudoku"])
def test_the_splits_have_their_shares(name):
    """Sudoku apart, where 12 grids are dealt: 7, 4 and 1 of them."""
    examples = task(name).make(Words(tokenizer("words"), name), Draw(5, name))
    keys = {(name, *each.key) for each in itertools.islice(examples, 6000) if each is not None}
    dealt = [split_of(key) for key in keys]
    for split, share in SHARES.items():
        assert binomtest(dealt.count(split), len(dealt), share).pvalue > 1e-3


def test_every_split_has_its_own_sudoku_grids():
    assert len({renamed(grid) for grid in grids()}) == 12
    dealt = {renamed(grid): split_of(("sudoku", *renamed(grid))) for grid in grids()}
    assert [list(dealt.values()).count(split) for split in SHARES] == [7, 4, 1]


@given(st.sampled_from(grids()), st.permutations((1, 2, 3, 4)))
def test_a_renamed_grid_stays_in_its_split(grid, names):
    assert renamed(tuple(names[digit - 1] for digit in grid)) == renamed(grid)


def test_all_288_grids_are_there():
    assert len(grids()) == 288
    assert len({tuple(grid) for grid in truth._fill([0] * 16)} ^ set(grids())) == 0


edges = st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda edge: edge[0] != edge[1]), min_size=3)


@given(edges, st.permutations("ABCDEFGH"), st.randoms())
def test_a_graph_with_other_names_in_another_order_stays_in_its_split(graph, names, random):
    one = [("ABCDEFGH"[a], "ABCDEFGH"[b]) for a, b in sorted(graph)]
    other = [(names[a], names[b]) for a, b in sorted(graph)]
    random.shuffle(other)
    assert shape(one) == shape(other)


def test_most_random_graphs_have_a_shape_of_their_own():
    """Two that differ may share one, which only puts them in one split; if many did, the shares would be coarse."""
    made = batch("paths, random", n=400)
    assert len({shape(facts["edges"]) for facts in made.facts}) > 380


@pytest.mark.parametrize("asked", ["paths, random"])
def test_random_graphs_of_two_splits_are_never_renamings_of_each_other(asked):
    seen = {
        split: {shape(list(truth.graph(question(batch(asked, split=split), row))[0])) for row in range(150)}
        for split in SHARES
    }
    for one, other in itertools.combinations(SHARES, 2):
        assert not seen[one] & seen[other]


def test_the_split_of_a_key_never_changes():
    """Pinned: trained weights have seen one of them."""
    keys = [("ioi", "Anna", i) for i in range(12)]
    assert [split_of(key)[0] for key in keys] == list("tccttttttttt")


def test_an_unknown_split_is_answered_with_the_nearest():
    with pytest.raises(TaskError, match="'calibration'"):
        task("ioi").examples(tokenizer("words"), 5, split="calibraton")


def test_every_asked_task_has_a_symmetry_tested_here():
    assert {ASKED[asked][0] for asked in SAME} == set(TASKS)


@pytest.mark.parametrize("name", ["ioi", "induction", "countdown", "paths"])
def test_a_key_forgets_the_order(name):
    """Two random examples rarely are one question in two orders, so it is the key itself that is looked at."""
    for example in itertools.islice(task(name).make(Words(tokenizer("words"), name), Draw(1, name)), 50):
        if example is not None:
            part = example.key[:2] if name == "ioi" else example.key
            assert list(part) == sorted(part)
