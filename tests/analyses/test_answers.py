"""How often models answer right, and one prompt whose answers are judged as its pool judged them."""

from __future__ import annotations

import pytest

import probe
from analyses import answers


@pytest.fixture(scope="module")
def pair():
    return probe.load_pair("zoo:masked", controls=False)


@pytest.fixture(scope="module")
def batch(pair):
    return probe.task("greater_than").batch(pair, 8)


def test_a_share_has_its_interval_and_what_a_guess_gets(pair):
    table = answers.accuracy(pair, probe.task("greater_than"), 30).table
    assert list(table["role"]) == ["ar", "diffusion"]
    for row in table.to_dict("records"):
        assert row["low"] < row["estimate"] <= row["high"]
        assert row["n"] == 30
        assert 0 < row["null"] < row["low"]  # these two have learnt it


def test_an_answer_that_is_as_right_as_the_one_shown_is_not_called_wrong(pair, batch):
    """Both twins answer what is in a pool right, each with a year of its own."""
    example = answers.of_pool(pair, probe.task("greater_than"), batch).about["example"]
    assert example["several"]
    (asked,) = [token for token in example["clean"] if token["asked"]]
    assert asked["text"] == example["right"]["clean"]
    for said in example["said"]:
        assert said["clean"]["right"] is True
        assert said["corrupt"]["right"] is not False  # of several right answers to it the batch names one


def test_a_pools_own_count_is_taken_and_not_made_again(pair, batch):
    table = answers.of_pool(pair, probe.task("greater_than"), batch).table.set_index("role")
    for role, found in batch.accuracy.items():
        assert (table.loc[role, "estimate"], table.loc[role, "n"]) == (found.share, found.tried)


@pytest.mark.parametrize("criterion", ["top", "over_distractor"])
def test_a_control_is_judged_as_the_twins_were_when_the_pool_was_selected(pair, criterion):
    """The AR model as its own control must have its own share, on a task on which the two criteria differ."""
    task = probe.task("countdown")
    solved = True if criterion == "top" else criterion
    selected = task.batch(pair, 8, solved=solved)
    controlled = probe.Pair(pair.ar, pair.diffusion, {"again": pair.ar}, "with a control")
    result = answers.of_pool(controlled, task, selected, criterion=criterion)
    table = result.table.set_index("role")
    assert table.loc["again", "estimate"] == table.loc["ar", "estimate"]
    assert ("above the distractor" in result.caption) == (criterion == "over_distractor")
    assert (table.loc["ar", "null"] == 0.5) == (criterion == "over_distractor")
