"""Knobs do what they say, and a value that makes no sense is told at once."""

from __future__ import annotations

import pytest

from probe.errors import TaskError
from probe.tasks import task
from tests.probe.tasks import truth
from tests.probe.tasks.spelling import question
from tests.probe.tasks.vocabularies import tokenizer


def examples(name: str, n: int = 40, **knobs):
    return task(name, **knobs).examples(tokenizer("words"), n)


@pytest.mark.parametrize("distance", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("graph", ["star", "random"])
def test_so_many_edges_lie_between_start_and_goal(graph, distance):
    made = examples("paths", graph=graph, distance=distance, nodes=14, edges=18)
    assert made.positions["completion"].shape[1] == distance
    for row in range(len(made)):
        for which in ("clean", "corrupt"):
            ways = truth.paths_answers(question(made, row, which=which))
            assert {len(way.split()) for way in ways} == {distance}


def test_a_star_has_its_arms_and_a_random_graph_its_edges():
    made = examples("paths", graph="star", arms=5, distance=2)
    edges, start, _ = truth.graph(question(made, 0))
    assert sum(a == start for a, _ in edges) == 5
    edges, _, _ = truth.graph(question(examples("paths", graph="random", edges=15, nodes=9), 0))
    assert len(edges) == 15
    assert len({node for edge in edges for node in edge}) <= 9


def test_a_dense_graph_is_found_too():
    assert len(examples("paths", nodes=8, edges=28)) == 40


@pytest.mark.parametrize("distance", [2, 3, 6])
def test_a_random_graph_grows_with_the_distance(distance):
    edges, _, _ = truth.graph(question(examples("paths", distance=distance), 0))
    assert len(edges) == 2 * distance + 2


@pytest.mark.parametrize("people", [2, 3, 4])
def test_so_many_people_have_two_things_each(people):
    made = examples("infilling", people=people)
    assert made.positions["decoys"].shape[1] == 2 * people - 1
    assert all(question(made, row).count(" has the ") == people for row in range(40))


@pytest.mark.parametrize("blanks", [4, 6, 12])
def test_so_many_cells_are_blank(blanks):
    made = examples("sudoku", n=10, blanks=blanks)
    assert all(truth.clues(question(made, row)).count(0) == blanks for row in range(10))
    assert all(len(truth.sudoku_answers(question(made, row))) == 1 for row in range(10))


def test_countdown_takes_its_numbers_operators_and_slot():
    made = examples("countdown", numbers=4, largest=9, operators="-/", ask="operand")
    for row in range(10):
        words = question(made, row).replace(",", " ").split()
        assert len(words[3:-1]) == 4
        assert max(map(int, words[3:-1])) <= 9
        assert set(tokenizer("words").decode(made.written()[row].tolist()).split()[1::2]) <= {"-", "/"}
    assert made.positions["answer"].equal(made.positions["completion"][:, 2:3])


def test_a_list_is_so_long_and_repeats_so_much():
    made = examples("induction", length=9, repeated=2)
    assert all(len(question(made, row).split(":")[1].split()) == 11 for row in range(10))


@pytest.mark.parametrize(
    ("name", "knobs", "told"),
    [
        ("countdown", {"numbers": 5}, "'numbers'.*from 3 to 4.*found 5"),
        ("countdown", {"numbers": "3"}, "'numbers'.*found '3'"),
        ("countdown", {"largest": 2}, "'largest'.*from 3 to 99"),
        ("countdown", {"operators": "+"}, "'operators'.*two or more different"),
        ("countdown", {"operators": "++-"}, "'operators'"),
        ("countdown", {"operators": "+^"}, "'operators'"),
        ("countdown", {"operators": 5}, "'operators'.*found 5"),
        ("countdown", {"ask": "operato"}, "'ask'.*Did you mean 'operator'"),
        ("sudoku", {"blanks": 13}, "'blanks'.*from 4 to 12"),
        ("sudoku", {"blanks": True}, "'blanks'.*found True"),
        ("sudoku", {"unique": "no"}, "'unique'.*True or False"),
        ("sudoku", {"direct": 1}, "'direct'.*True or False"),
        ("paths", {"graph": "stars"}, "'graph'.*Did you mean 'star'"),
        ("paths", {"distance": 1}, "'distance'.*from 2 to 6"),
        ("paths", {"arms": 1}, "'arms'.*from 2 to 5"),
        ("paths", {"graph": "star", "arms": 5, "distance": 6}, "'arms'.*at most 26 nodes"),
        ("paths", {"graph": "random", "distance": 3, "nodes": 6}, "'nodes'.*from 7 to 26"),
        ("paths", {"graph": "random", "distance": 3, "edges": 5}, "'edges'.*from 6 to 30"),
        ("paths", {"graph": "random", "nodes": 7, "edges": 22}, "'edges'.*at most half"),
        ("induction", {"length": 2}, "'length'.*from 3 to 60"),
        ("induction", {"length": 5, "repeated": 4}, "'repeated'.*from 1 to 3"),
        ("ioi", {"corrupt": "thrid"}, "'corrupt'.*Did you mean 'third'"),
        ("infilling", {"in_place": "yes"}, "'in_place'.*True or False"),
    ],
)
def test_a_value_out_of_range_is_told(name, knobs, told):
    with pytest.raises(TaskError, match=told):
        task(name, **knobs)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(TaskError, match="Did you mean 'countdown'"):
        task("countdwn")
    with pytest.raises(TaskError, match=r"a knob it has; found 'numbrs'.*Did you mean 'numbers'"):
        task("countdown", numbrs=3)
    with pytest.raises(TaskError, match="It has none"):
        task("greater_than", corrupt="third")


def test_too_few_says_how_many_there_are_and_gives_them_when_asked_to():
    small = task("countdown", largest=4)
    with pytest.raises(
        TaskError, match=r"500 test examples .* found (\d+) different ones. Ask for \1 or fewer"
    ) as told:
        small.examples(tokenizer("words"), 500)
    there = small.examples(tokenizer("words"), 500, fewer=True)
    assert told.value.found == f"{len(there)} different ones"
    assert len(small.examples(tokenizer("words"), 500, seed=9, fewer=True)) == len(there)


@pytest.mark.parametrize("fewer", [False, True])
def test_a_search_that_never_succeeds_ends(fewer):
    with pytest.raises(TaskError, match=r"found 0 different ones. Turn a knob"):
        task("countdown", largest=3, operators="*/").examples(tokenizer("words"), 5, fewer=fewer)


@pytest.mark.parametrize(
    ("n", "seed", "thing"), [(0, 0, "n"), (-1, 0, "n"), (2.0, 0, "n"), (5, -1, "seed"), (5, "a", "seed")]
)
def test_numbers_of_examples_and_seeds_that_make_no_sense_are_told(n, seed, thing):
    with pytest.raises(TaskError, match=f"^{thing}: expected an integer"):
        task("ioi").examples(tokenizer("words"), n, seed=seed)
