"""Null pairs are rejected as often as is due, and known differences covered: a part of the calibration table."""

from __future__ import annotations

import pytest

from analyses.calibration import table
from analyses.calibration.__main__ import as_markdown
from analyses.calibration.instruments import INSTRUMENTS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found():
    return table(figures=("ΔFLI", "ΔPR"), regimes=("all matter",))


def test_nulls_are_rejected_in_five_percent_give_or_take_three(found):
    rows = found.table.query("what == 'rejects'")
    assert len(rows) == 2
    assert rows["estimate"].between(0.02, 0.08).all(), rows


def test_intervals_cover_ninety_five_percent_give_or_take_four(found):
    rows = found.table.query("what == 'covers'")
    assert len(rows) == 2
    assert rows["estimate"].between(0.91, 0.99).all(), rows


@pytest.mark.parametrize("figure", INSTRUMENTS)
def test_the_instruments_for_diffusion_are_calibrated_too(figure):
    """A gain over a baseline is one-sided: learning from few examples costs a probe more than it finds in noise."""
    rows = table(figures=(figure,)).table.set_index("what")["estimate"]
    assert rows["rejects"] <= 0.08
    assert rows["rejects"] >= (0 if "gain" in figure else 0.02)
    assert rows["covers"] >= 0.91


def test_where_nearly_all_is_noise_the_plain_bootstrap_is_wrong_and_ours_is_not():
    """The reason for all of it: one model's participation ratio when ten nodes of 54 do anything."""
    names = ("PR of one model", "PR of one model, |mean|, percentile bootstrap")
    ours, plain = table(pairs=60, figures=names, regimes=("few matter",)).table["estimate"]
    assert ours > 0.85
    assert plain < 0.1


def test_the_table_is_printed(found):
    printed = as_markdown(found.table)
    assert printed.count("\n") == 2 + 2 - 1
    assert "| ΔFLI | all matter | yes |" in printed
