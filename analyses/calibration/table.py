"""The calibration table: how often each measure's test rejects a true null, and its interval covers a known truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from analyses.calibration.found import Found, Simulate, of_estimate
from analyses.calibration.instruments import INSTRUMENTS
from analyses.calibration.populations import REGIMES, Population, hardness
from analyses.components.scores import (
    Measure,
    change,
    contrast,
    measured,
)
from analyses.front_loading.statistic import (
    early_of,
    front_loading,
    index_of,
    shares,
)
from analyses.result import Result
from analyses.specialization.curves import area, grid, normalised
from analyses.specialization.spread import figure_of, participation, participation_ratio
from analyses.statistics import (
    bootstrap,
    combination,
    equivalence,
    mean,
    ratio,
    sign_flip,
    uniform,
)
from analyses.statistics.per_example import PerExample

PAIRS, PROMPTS = 200, 256
_TILT, _POWER = 0.8, 1.15
_RESAMPLES = 1_000


def _twins(generator: np.random.Generator, regime: str, differ: bool) -> tuple[Population, Population]:
    one = Population.drawn(generator, regime)
    other = one.permuted(generator)
    return one, other.changed(_TILT, _POWER) if differ else other


def paired_difference(make: Measure) -> Simulate:
    """The difference of a measure between twins, computed as in the measures."""

    def simulate(generator: np.random.Generator, regime: str, differ: bool) -> Found:
        twins = _twins(generator, regime, differ)
        prompts = hardness(generator, PROMPTS)
        drawn = [one.scores(prompts, generator) for one in twins]
        return of_estimate(change(make, *drawn, count=_RESAMPLES), _truth(make, *twins))

    return simulate


def of_one_model(make: Measure) -> Simulate:
    """A measure of a single model; it has no null."""

    def simulate(generator: np.random.Generator, regime: str, differ: bool) -> Found:
        population = Population.drawn(generator, regime)
        drawn = population.scores(hardness(generator, PROMPTS), generator)
        return of_estimate(measured(make, drawn, count=_RESAMPLES), float(make(population.truth)(uniform(2))[0]))

    return simulate


def _truth(make: Measure, one: Population, other: Population) -> float:
    return float(contrast(make, (-1, 1))(one.truth, other.truth)(uniform(2))[0])


def did(generator: np.random.Generator, regime: str, differ: bool) -> Found:
    """DiD of FLI over two tasks with prompts of their own."""
    found, truths = [], []
    for task in range(2):
        twins = _twins(generator, regime, differ and task == 1)
        prompts = hardness(generator, PROMPTS)
        found.append(change(index_of, *(one.scores(prompts, generator) for one in twins), count=_RESAMPLES))
        truths.append(_truth(index_of, *twins))
    return of_estimate(combination(found, (-1, 1)), truths[1] - truths[0])


def naive(figure: Callable[[NDArray], NDArray]) -> Simulate:
    """Not used: uncorrected |mean| scores under a percentile bootstrap. `figure`: magnitudes → a number."""

    def simulate(generator: np.random.Generator, regime: str, differ: bool) -> Found:
        one, other = _twins(generator, regime, differ)
        prompts = hardness(generator, PROMPTS)
        a, b = (population.scores(prompts, generator).values for population in (one, other))
        truth = figure(np.abs(other.means)) - figure(np.abs(one.means))
        change = bootstrap(
            lambda w: figure(np.abs(w @ b)) - figure(np.abs(w @ a)), PROMPTS, count=_RESAMPLES, kind="percentile"
        )
        return of_estimate(change, float(truth))

    return simulate


def naive_of_one(figure: Callable[[NDArray], NDArray]) -> Simulate:
    """The same for a single model."""

    def simulate(generator: np.random.Generator, regime: str, differ: bool) -> Found:
        population = Population.drawn(generator, regime)
        a = population.scores(hardness(generator, PROMPTS), generator).values
        found = bootstrap(lambda w: figure(np.abs(w @ a)), PROMPTS, count=_RESAMPLES, kind="percentile")
        return of_estimate(found, float(figure(np.abs(population.means))))

    return simulate


def _plain_index(magnitudes: NDArray) -> NDArray:
    return front_loading(shares(magnitudes @ _IN_LAYER))


def _plain_participation(magnitudes: NDArray) -> NDArray:
    return participation(magnitudes.sum(-1), (magnitudes**2).sum(-1))


_IN_LAYER = Population(np.ones(1)).truth.in_layer


def knockout_area(generator: np.random.Generator, regime: str, differ: bool) -> Found:
    """The change of a knock-out curve's area: each prompt's metric falls noisily from its own level."""
    gone = grid(54)
    scale = {"all matter": 0.5, "few matter": 0.1}[regime]
    speeds = (scale, scale * (2.0 if differ else 1.0))
    prompts = hardness(generator, PROMPTS)
    expected = [np.exp(-gone / gone[-1] / speed) - np.exp(-1 / speed) for speed in speeds]
    drawn = [prompts * curve[:, None] * 3 + 0.5 * generator.normal(size=(len(gone), PROMPTS)) for curve in expected]
    first, second = (normalised(one) for one in drawn)
    truth = np.diff([area(curve / curve[0], gone) for curve in expected])[0]
    found = bootstrap(lambda w: area(second(w), gone) - area(first(w), gone), PROMPTS, count=_RESAMPLES)
    return of_estimate(found, truth)


def _skewed(generator: np.random.Generator, differ: bool) -> tuple[NDArray, float]:
    """Paired differences with a long tail, and their true mean."""
    truth = 0.3 if differ else 0.0
    return truth + generator.gamma(2, 0.5, PROMPTS) - 1, truth


def mean_difference(generator: np.random.Generator, regime: str, differ: bool) -> Found:
    values, truth = _skewed(generator, differ)
    return of_estimate(mean(values, count=_RESAMPLES), truth)


def exchange(generator: np.random.Generator, regime: str, differ: bool) -> Found:
    """The sign-flip test, where the models are exchangeable; it has no interval."""
    values = generator.standard_t(4, PROMPTS) + 0.3 * differ
    return Found(bool(sign_flip(values, count=_RESAMPLES) < 0.05), not differ or bool(np.mean(values) != 0))


def share_of_metric(generator: np.random.Generator, regime: str, differ: bool) -> Found:
    """A drop as a share of the metric: a ratio of means over the same prompts."""
    whole = 3 * hardness(generator, PROMPTS)
    truth = 0.1 * differ
    return of_estimate(ratio(truth * whole + 0.5 * generator.normal(size=PROMPTS), whole, count=_RESAMPLES), truth)


def at_the_margin(generator: np.random.Generator, regime: str, differ: bool) -> Found:
    """Equivalence found although the difference equals the margin: its type I error."""
    values = 0.3 + generator.normal(size=PROMPTS)
    return Found(bool(equivalence(values, 0.3).holds()), True)


def revised_share(generator: np.random.Generator, regime: str, differ: bool) -> Found:
    """The share of an answer's eight places that are written more than once: few in most examples, many in some."""
    often, seldom = 0.2, 1.8
    shares = generator.binomial(8, generator.beta(often, seldom, PROMPTS)) / 8
    (row,) = PerExample.of(shares[:, None], measure=["slots revised"]).table(resamples=_RESAMPLES).to_dict("records")
    truth = often / (often + seldom)
    return Found(False, bool(row["low"] <= truth <= row["high"]))


USED: dict[str, Simulate] = {
    "ΔFLI": paired_difference(index_of),
    "Δ early mass": paired_difference(early_of),
    "ΔPR": paired_difference(participation_ratio),
    "ΔPR within layers": paired_difference(figure_of("PR", "within layers")),
    "Δ entropy": paired_difference(figure_of("entropy")),
    "Δ Gini": paired_difference(figure_of("Gini")),
    "DiD of FLI": did,
    "Δ knock-out area": knockout_area,
}
SINGLE: dict[str, Simulate] = {
    "FLI of one model": of_one_model(index_of),
    "PR of one model": of_one_model(participation_ratio),
}
PLAIN: dict[str, Simulate] = {
    "mean difference (BCa)": mean_difference,
    "ratio of means (BCa)": share_of_metric,
    "slots revised of one model": revised_share,
}
TESTS: dict[str, Simulate] = {"sign flip": exchange, "equivalence at its margin": at_the_margin}
NOT_USED: dict[str, Simulate] = {
    "PR of one model, |mean|, percentile bootstrap": naive_of_one(_plain_participation),
    "ΔFLI, |mean|, percentile bootstrap": naive(_plain_index),
    "ΔPR, |mean|, percentile bootstrap": naive(_plain_participation),
}


def table(
    *, pairs: int = PAIRS, seed: int = 0, figures: Iterable[str] | None = None, regimes: Iterable[str] = REGIMES
) -> Result:
    """Rejections of null pairs and coverage of known differences, each with its Wilson interval."""
    rows, regimes = [], tuple(regimes)
    groups = (
        ("yes", USED | SINGLE, regimes),
        ("yes", PLAIN | TESTS | INSTRUMENTS, ("any",)),
        ("no", NOT_USED, regimes),
    )
    for used, group, among in groups:
        for name, simulate in group.items():
            if figures is not None and name not in figures:
                continue
            for regime in among:
                named = {"figure": name, "regime": regime, "used": used}
                rows += [{**named, **row} for row in _row(simulate, name, regime, pairs, seed)]
    return Result(
        name="calibration",
        table=pd.DataFrame(rows),
        title=f"Calibration over {pairs} simulated pairs",
        caption="How often tests reject pairs that do not differ (5% is right; less is conservative, more is wrong), "
        "and how often 95% intervals cover a known difference. FLI: front-loading index; PR: participation ratio; "
        "DiD: difference in differences.",
        drawing="forest",
        about={
            "axes": {"rows": ["figure", "regime"], "colour": "used", "facet": "what", "x_title": "share of pairs"},
            "pairs": pairs, "prompts": PROMPTS, "seed": seed, "reference": None,
        },
    )  # fmt: skip


def _row(simulate: Simulate, name: str, regime: str, pairs: int, seed: int) -> list[dict[str, Any]]:
    rows = []
    if "of one model" not in name:
        nulls = [simulate(np.random.default_rng([seed, turn]), regime, False).rejects for turn in range(pairs)]
        rows = [{"what": "rejects", "due": 0.05, **_share(sum(nulls), pairs)}]
    if name in TESTS:
        return rows
    covered = [simulate(np.random.default_rng([seed + 1, turn]), regime, True).covers for turn in range(pairs)]
    return [*rows, {"what": "covers", "due": 0.95, **_share(sum(covered), pairs)}]


def _share(count: int, pairs: int) -> dict[str, Any]:
    interval = binomtest(count, pairs).proportion_ci(0.95, method="wilson")
    return {"estimate": count / pairs, "low": interval.low, "high": interval.high, "n": pairs}
