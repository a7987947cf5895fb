"""Figures by example: missing ones, several questions an example, steps, and differences that are paired."""

from __future__ import annotations

import numpy as np
import pytest

from analyses import statistics
from analyses.statistics.contrasts import compared
from analyses.statistics.per_example import FEWEST, PerExample


def test_means_are_over_the_examples_that_have_a_figure():
    values = np.random.default_rng(0).normal(size=(40, 3))
    values[:25, 1] = np.nan
    values[:38, 2] = np.nan
    table = PerExample.of(values, layer=[0, 1, 2]).table()
    assert table["n"].tolist() == [40, 15, 2]
    assert table["estimate"].tolist() == pytest.approx(np.nanmean(values, 0).tolist())
    alone = PerExample.of(values[25:, 1:2], layer=[1]).table()
    assert table.loc[1, "high"] - table.loc[1, "low"] == pytest.approx(
        alone.loc[0, "high"] - alone.loc[0, "low"], rel=0.1
    )
    assert table.loc[2, ["low", "high"]].isna().all()  # two examples make no interval
    assert FEWEST > 2


def test_whole_tables_have_the_intervals_of_the_statistics_room(monkeypatch):
    from analyses.statistics import per_example

    values = np.random.default_rng(1).normal(size=(30, 2, 3))
    expected = statistics.mean(values)
    for at_once in (2**25, 20_000):  # all cells together, and two at a time
        monkeypatch.setattr(per_example, "_DRAWS", at_once)
        table = PerExample.of(values, layer=[0, 1], head=[0, 1, 2]).table({"model": "m"})
        assert table["low"].to_numpy() == pytest.approx(expected.low.ravel())
        assert table["high"].to_numpy() == pytest.approx(expected.high.ravel())
    assert table.columns[:3].tolist() == ["model", "layer", "head"]


def test_questions_of_one_example_are_averaged_and_those_of_a_run_are_not():
    values, example = np.array([[1.0], [3.0], [np.nan], [5.0]]), np.array([0, 0, 0, 2])
    drawn = PerExample.from_questions(values, example, 3, layer=[0])
    assert drawn.values[:, 0].tolist() == pytest.approx([2.0, np.nan, 5.0], nan_ok=True)
    stepped = PerExample.from_questions(values[[0, 1, 3]], example[[0, 1, 3]], 3, step=[0, 4, 4], layer=[0])
    assert stepped.axes == {"step": [0, 4], "layer": [0]}
    assert stepped.values[..., 0].tolist() == [
        pytest.approx([1.0, 3.0]), pytest.approx([np.nan] * 2, nan_ok=True), pytest.approx([np.nan, 5.0], nan_ok=True),
    ]  # fmt: skip


def test_a_difference_is_paired():
    """Examples differ a lot, the models by one tenth each time: only pairing sees it."""
    easy = np.random.default_rng(2).normal(size=(50, 1)) * 10
    better = easy + 0.1 + np.random.default_rng(3).normal(size=(50, 1)) * 0.05
    made = {"ar": PerExample.of(easy, layer=[0]), "diffusion": PerExample.of(better, layer=[0])}
    table = compared(made, {"ar": "a", "diffusion": "d"}, "task").set_index("role")
    assert table.loc["diffusion", "low"] < table.loc["ar", "estimate"] < table.loc["diffusion", "high"]
    assert 0.08 < table.loc["diffusion − ar", "low"] < 0.1 < table.loc["diffusion − ar", "high"] < 0.13
    assert table.loc["diffusion − ar", "q"] < 0.01


def test_what_does_not_count_the_same_is_not_subtracted():
    a, b = PerExample.of(np.zeros((4, 2)), step=[0, 1]), PerExample.of(np.zeros((4, 2)), step=[0, 3])
    assert a.minus(b) is None
    assert "p" not in compared({"ar": a, "diffusion": b}, {"ar": "a", "diffusion": "d"}, "task")
