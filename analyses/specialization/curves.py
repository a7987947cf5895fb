"""Knock-out curves: how fast an answer is lost as components are knocked out, the most important first.

The metric, from 1 (the whole model) to 0 (everything knocked out), against the share of components knocked out. If few
components do the work, the first knock-outs lose everything and the area under the curve is small; if the work is
spread, the curve equals one in random order. So the measure is the area minus the random-order area: far below 0 is
concentrated, near 0 spread.

The order is by |score|, from attribution or single knock-outs, and stays fixed when prompts are resampled. Each prompt
has its own random orders: the mean is over all prompts and draws.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.components.knockouts import Knockouts, Masks
from analyses.components.scores import Scores
from analyses.result import Result
from analyses.statistics import Statistic, bootstrap

POINTS = 12


def grid(n: int, points: int = POINTS) -> NDArray:
    """How many are knocked out at each point of a curve: 0, 1 and n, and in between with growing steps."""
    return np.unique(np.concatenate([[0], np.geomspace(1, n, points).round()])).astype(int)


def first_gone(order: NDArray, gone: NDArray) -> Masks:
    """Masks (sizes × … × components) of the first components of an order, or of each of several (…)."""
    return order.argsort(-1) < gone.reshape(-1, *[1] * order.ndim)


def by_strength(scores: Scores) -> NDArray:
    return np.argsort(-np.abs(scores.values.mean(0)), kind="stable")


def random_orders(shape: tuple[int, ...], seed: int) -> NDArray:
    """Orders on the last axis."""
    return np.random.default_rng(seed).random(shape).argsort(-1)


def normalised(metric: NDArray) -> Statistic:
    """Curves (… × points × examples) → weights → r × … × points, scaled to 1 at the first point and 0 at the last."""

    def curve(weights: NDArray) -> NDArray:
        mean = np.moveaxis(metric @ weights.T, -1, 0)
        first, last = mean[..., :1], mean[..., -1:]
        return (mean - last) / (first - last)

    return curve


def area(curve: NDArray, gone: NDArray) -> NDArray:
    """The area under a curve over the share knocked out."""
    return np.trapezoid(curve, gone / gone[-1], axis=-1)


def curves(
    runs: Iterable[tuple[Knockouts, Scores]],
    *,
    points: int = POINTS,
    draws: int = 2,
    seed: int = 0,
    resamples: int = 2000,
) -> Result:
    """A curve for each run in the order of its scores, its random-order mean, and their areas.

    Models compared on the same examples also get rows of differences: the area (minus random) minus another model's.
    """
    rows, areas = [], []
    for run, scores in runs:
        gone = grid(run.n_components, points)
        ranked = run.metric(first_gone(by_strength(scores), gone))
        orders = random_orders((draws, run.n, run.n_components), seed)
        random = np.stack([run.metric(first_gone(order, gone)) for order in orders])
        named = {"model": run.model.name, "task": run.task, "scope": run.scope, "ablation": run.ablation.kind}
        rows += _points(named, run, normalised(ranked), normalised(random), gone, resamples)
        less_random = _less_random(normalised(ranked), normalised(random), gone)
        areas.append((named, run, less_random))
        rows.append(
            {**named, "what": "area", **bootstrap(_area(normalised(ranked), gone), run.n, count=resamples).row()}
        )
        rows.append({**named, "what": "area − random", **bootstrap(less_random, run.n, count=resamples).row(p=True)})
    rows += _changes(areas, resamples)
    return Result(
        name="knockout_curves",
        table=pd.DataFrame(rows),
        title="How fast the answer is lost",
        caption="Components are knocked out, the strongest first; the dotted line is random order. A curve far below "
        "it: few components carry the answer. One close to it: the work is spread.",
        drawing="knockout_curves",
        about={
            "axes": {
                "x": "share", "colour": "model", "facet": "task",
                "x_title": "share of components knocked out", "y_title": "metric left",
            },
            "seed": seed, "draws": draws,
        },
    )  # fmt: skip


def _points(
    named: dict[str, Any], run: Knockouts, ranked: Statistic, random: Statistic, gone: NDArray, resamples: int
) -> list[dict[str, Any]]:
    found = bootstrap(ranked, run.n, count=resamples, kind="percentile")
    null = bootstrap(lambda w: random(w).mean(1), run.n, count=resamples, kind="percentile")
    table = pd.DataFrame(found.columns()).assign(null=null.estimate, null_low=null.low, null_high=null.high)
    table = table.assign(what="curve", gone=gone, share=gone / gone[-1], **named)
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _area(curve: Statistic, gone: NDArray) -> Statistic:
    return lambda weights: area(curve(weights), gone)


def _less_random(ranked: Statistic, random: Statistic, gone: NDArray) -> Statistic:
    return lambda weights: area(ranked(weights), gone) - area(random(weights), gone).mean(1)


def _changes(areas: list[tuple[dict[str, Any], Knockouts, Statistic]], resamples: int) -> list[dict[str, Any]]:
    """Each model minus each before it, if both have the same examples."""
    rows = []
    for (first, run, base), (named, other, found) in combinations(areas, 2):
        if named["model"] == first["model"] or other.examples != run.examples:
            continue
        change = bootstrap(lambda w, base=base, found=found: found(w) - base(w), run.n, count=resamples)
        model = f"{named['model']} − {first['model']}"
        rows.append({**named, "model": model, "what": "Δ area − random", **change.row(p=True), "null": 0.0})
    return rows
