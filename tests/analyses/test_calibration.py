"""Null pairs are rejected as often as is due, and known differences covered: a part of the calibration table."""

from __future__ import annotations

import pytest

from analyses.calibration import table
from analyses.calibration.__main__ import as_markdown


@pytest.fixture(scope="module")
def found():
    return table(figures=("ΔFLI", "ΔPR", "mean difference (BCa)"))


def test_nulls_are_rejected_in_five_percent_give_or_take_three(found):
    rows = found.table.query("what == 'rejects' and regime != 'few matter'")
    assert len(rows) == 3
    assert rows["estimate"].between(0.02, 0.08).all(), rows


def test_where_nearly_all_is_noise_tests_are_careful_rather_than_wrong(found):
    rows = found.table.query("what == 'rejects' and regime == 'few matter'")
    assert (rows["estimate"] <= 0.08).all(), rows


def test_intervals_cover_ninety_five_percent_give_or_take_four(found):
    rows = found.table.query("what == 'covers' and regime != 'few matter'")
    assert rows["estimate"].between(0.91, 0.99).all(), rows


def test_the_table_is_printed(found):
    printed = as_markdown(found.table)
    assert printed.count("\n") == 2 + 5 - 1
    assert "| ΔFLI | few matter | yes |" in printed
