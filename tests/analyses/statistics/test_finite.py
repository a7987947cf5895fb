"""NaN is no evidence: no p-value comes from one, and the first place where one stands is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analyses import statistics
from analyses.result import Result
from analyses.statistics import Estimate
from probe.errors import ProbeError

VALUES = np.random.default_rng(0).normal(1.0, 1.0, (20, 3))


def spoilt(values: np.ndarray, at: tuple[int, ...], by: float = np.nan) -> np.ndarray:
    values = values.copy()
    values[at] = by
    return values


@pytest.mark.parametrize("by", [np.nan, np.inf, -np.inf])
def test_the_first_place_is_named(by):
    statistics.refuse_not_finite("values", VALUES, {"example": range(20), "node": ("a", "b", "c")})
    with pytest.raises(ProbeError, match=rf"{by} at example 4, node c \(2 of 60 values\)"):
        statistics.refuse_not_finite(
            "values", spoilt(spoilt(VALUES, (4, 2), by), (7, 0)), {"example": range(20), "node": ("a", "b", "c")}
        )


@pytest.mark.parametrize("kind", statistics.KINDS)
def test_a_bootstrap_of_nan_has_no_p(kind):
    found = statistics.mean(spoilt(VALUES, (4, 2)), count=200, kind=kind)
    assert np.isnan(found.p).tolist() == [False, False, True]
    assert found.p[0] < 0.05


def test_a_resample_without_a_figure_is_no_proof():
    """An example that alone has a figure: a third of the resamples have none, and count for neither side."""
    top, bottom = np.zeros(20), np.zeros(20)
    top[0] = bottom[0] = 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        found = statistics.ratio(top, bottom, count=500, kind="percentile")
    assert not found.p < 0.05


def test_recentred_refuses_nan_and_gives_no_p_where_there_is_no_figure():
    make = lambda scores: lambda weights: weights @ scores  # noqa: E731  (short)
    with pytest.raises(ProbeError, match="example 4, component 2"):
        statistics.recentred(make, spoilt(VALUES, (4, 2)), count=100)
    nowhere = statistics.recentred(lambda scores: lambda weights: weights @ scores * np.nan, VALUES, count=100)
    assert np.isnan(nowhere.p).all()


def test_an_exchange_of_nan_has_no_p():
    p = statistics.sign_flip(spoilt(VALUES, (4, 2)), count=200)
    assert np.isnan(p).tolist() == [False, False, True]
    with pytest.raises(ProbeError, match=r"sample 1 .*observation 4"):
        statistics.permutation((VALUES[:, 0], spoilt(VALUES[:, 0], (4,))), lambda a, b: a.mean() - b.mean(), count=50)


@pytest.mark.parametrize("name", ["estimate", "error"])
def test_a_sum_of_estimates_one_of_which_is_nan_has_no_p(name):
    figures = {"estimate": np.array(1.0), "low": np.array(0.0), "high": np.array(2.0), "error": np.array(0.5)}
    good = Estimate(**figures, n=20, p=np.array(0.5))
    bad = Estimate(**{**figures, name: np.array(np.nan)}, n=20, p=np.array(0.5))
    assert np.isnan(statistics.combination([good, bad], (1, -1)).p)
    assert statistics.combination([good, good], (1, -1)).p == 1


def test_a_result_with_a_p_for_no_estimate_is_refused():
    table = pd.DataFrame({"model": ["ar", "mdm"], "estimate": [0.1, np.nan], "p": [0.2, 0.0005]})
    with pytest.raises(ProbeError, match=r"p = 0.0005 .* row 1 \(model mdm\)"):
        Result("spread", table, "", "", "forest")
    Result("spread", table.assign(p=[0.2, np.nan]), "", "", "forest")
