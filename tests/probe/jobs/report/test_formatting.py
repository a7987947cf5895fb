"""Numbers are written to the digits that were measured."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.jobs.report import formatting


@pytest.mark.parametrize(
    ("numbers", "written"),
    [
        ((0.1234567, 0.0512, 0.1961), "0.123 [0.051, 0.196]"),
        ((-0.5, -0.75, -0.25), "−0.50 [−0.75, −0.25]"),
        ((1234.5, 1000, 1469), "1,234 [1,000, 1,469]"),
        ((0.5, math.nan, math.nan), "0.500"),
        ((math.nan, math.nan, math.nan), "–"),
        ((1.0, 1.0, 1.0), "1.00 [1.00, 1.00]"),
        ((3.2e-7, 1e-7, 6e-7), "3.20e−07 [1.00e−07, 6.00e−07]"),
        ((5.77e-5, -0.0382, 0.0386), "0.000 [−0.038, 0.039]"),
        ((None, None, None), "–"),
    ],
)
def test_an_estimate_has_the_digits_that_its_interval_bears_out(numbers, written):
    assert formatting.shown(*numbers) == written


@given(st.floats(-1000, 1000), st.floats(0.001, 100), st.floats(0.001, 100))
def test_what_is_written_is_the_number_within_a_tenth_of_the_interval(estimate, below, above):
    written = formatting.shown(estimate, estimate - below, estimate + above)
    read = float(written.split(" [")[0].replace("−", "-").replace(",", ""))
    assert abs(read - estimate) <= (below + above) / 2 / 10 + 1e-6


@pytest.mark.parametrize(
    ("seconds", "written"), [(0.25, "0.2 s"), (59.94, "59.9 s"), (754, "13 min"), (3725, "1 h 02 min"), (None, "–")]
)
def test_times_are_written_for_people(seconds, written):
    assert formatting.duration(seconds) == written


@pytest.mark.parametrize(("value", "written"), [(3, "3"), (3.0, "3"), (0.25, "0.25"), ("a3.h1", "a3.h1"), (None, "–")])
def test_labels_are_words(value, written):
    assert formatting.label(value) == written
