"""The significance of an estimate, against cases that one can decide in one's head."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.jobs.report.significance import judge, tally

NOTHING = math.nan


@pytest.mark.parametrize(
    ("row", "significance"),
    [
        ({"low": 0.1, "high": 0.3, "null": 0.0}, "above"),
        ({"low": -0.3, "high": -0.1, "null": 0.0}, "below"),
        ({"low": -0.1, "high": 0.3, "null": 0.0}, "within"),
        ({"low": 0.0, "high": 0.3, "null": 0.0}, "within"),  # an interval that touches its null does not leave it out
        ({"low": 0.1, "high": 0.3, "null": 0.05, "null_low": 0.0, "null_high": 0.2}, "within"),
        ({"low": 0.1, "high": 0.3, "null": 0.05, "null_low": 0.0, "null_high": 0.09}, "above"),
        ({"low": 0.1, "high": 0.3, "null": 0.5, "null_low": 0.4, "null_high": 0.6}, "below"),
        ({"low": 0.1, "high": 0.3}, None),  # described, not judged
        ({"low": 0.1, "high": 0.3, "p": 0.001}, "above"),  # a p-value is against 0
        ({"low": 0.1, "high": 0.3, "p": 0.001, "q": 0.2}, "within"),  # one of many tests
        ({"low": 0.1, "high": 0.3, "p": 0.001, "q": 0.01}, "above"),
        ({"low": NOTHING, "high": NOTHING, "null": 0.0}, None),
        ({"low": -0.1, "high": 0.1, "null": 0.0, "equivalent": True}, "same"),
        ({"low": -0.1, "high": 0.1, "null": 0.0, "equivalent": False}, "within"),
    ],
)
def test_an_estimate_is_held_against_its_null(row, significance):
    (found,) = judge(pd.DataFrame([{"estimate": 0.2, **row}]))["significance"]
    assert found == significance or (significance is None and pd.isna(found))


bounds = st.tuples(st.floats(-5, 5), st.floats(-5, 5)).map(sorted)


@given(st.lists(st.tuples(bounds, bounds), min_size=1, max_size=20))
def test_above_and_below_mean_that_the_intervals_have_no_number_in_common(pairs):
    rows = [
        {"estimate": lo, "low": lo, "high": hi, "null_low": n_lo, "null_high": n_hi} for (lo, hi), (n_lo, n_hi) in pairs
    ]
    judged = judge(pd.DataFrame(rows).assign(null=0.0))
    for row in judged.to_dict("records"):
        apart = max(row["low"], row["null_low"]) > min(row["high"], row["null_high"])
        assert (row["significance"] in ("above", "below")) == apart


def test_a_tally_counts_what_was_judged_and_says_so():
    table = pd.DataFrame({"estimate": 0.2, "low": [0.1, -0.3, -0.1, 0.1], "high": [0.3, -0.1, 0.1, 0.3]})
    judged = judge(table.assign(null=[0.0, 0.0, 0.0, NOTHING]))
    found = tally(judged)
    assert (found.rows, found.judged, found.differ, found.within) == (4, 3, 2, 1)
    assert found.sentence == "2 of 3 estimates with a null exclude it"


def test_one_estimate_leaves_and_two_leave():
    one = judge(pd.DataFrame({"estimate": [0.2], "low": [0.1], "high": [0.3], "null": [0.0]}))
    assert tally(one).sentence == "1 of 1 estimate with a null excludes it"


def test_a_table_without_intervals_or_nulls_is_described():
    found = tally(judge(pd.DataFrame({"layer": [0, 1], "estimate": [0.1, 0.2]})))
    assert (found.judged, found.sentence) == (0, "2 estimates, described without a null")
