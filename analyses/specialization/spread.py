"""How widely attribution is spread over components: six measures, over all components and within layers.

With a = |s(v)| over n components and π = a/Σa,

    PR             participation ratio (Σa)²/Σa²: how many components share the work, from 1 to n; PR/n is its share
    entropy        H(π)/ln n, 0 to 1
    Gini           0 if all have the same, towards 1 if one has all
    max            the largest share
    n_50, n_90     the fewest components that have half, nine tenths

"within layers" is each layer's value, weighted by the layer's share of the mass: a model that moves its computation
into few layers has a lower global PR although no layer is less distributed; then depth, not spread, has changed.

PR is a ratio of sums, and noise can be subtracted from each sum (see `analyses.statistics.magnitudes`), so the
hypotheses are decided by PR. The other measures have no such form. Their null shows how much noise is left in them: it
is their value for the same scores with every prompt's sign drawn at random, so that no component has a consistent
effect. Components within noise count as 0, except for Gini, which ranks all components and uses their absolute values:
with a cut-off at 0, it would call a tenth of the pairs that do not differ different (`python -m analyses.calibration`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.circuits.circuit import Circuit
from analyses.components.scores import (
    PARTS,
    Measure,
    Scores,
    label,
    scores_of,
    side_by_side,
)
from analyses.front_loading.statistic import shares
from analyses.result import Result
from analyses.statistics import Statistic, adjusted

_NULL_DRAWS = 200

# Closed forms, on the last axis: non-negative magnitudes (… × n)


def participation(total: NDArray, squared: NDArray) -> NDArray:
    """(Σa)²/Σa², from Σa and Σa²."""
    return total**2 / np.where(squared > 0, squared, np.nan)


def entropy(a: NDArray) -> NDArray:
    """H(π)/ln n."""
    pi = shares(a)
    terms = np.where(pi > 0, pi * np.log(np.where(pi > 0, pi, 1)), 0)
    return np.where(np.isnan(pi[..., 0]), np.nan, -terms.sum(-1) / np.log(max(a.shape[-1], 2)))


def gini(a: NDArray) -> NDArray:
    n = a.shape[-1]
    return shares(np.sort(a, axis=-1)) @ (2 * np.arange(1, n + 1) - n - 1) / n


def largest(a: NDArray) -> NDArray:
    return shares(a).max(-1)


def fewest(a: NDArray, share: float) -> NDArray:
    """How many of the largest have this share; the last one counts by the fraction of it that is needed."""
    pi = -np.sort(-shares(a), axis=-1)
    cumulated = np.cumsum(pi, axis=-1)
    whole = (cumulated < share).sum(-1)
    last = np.minimum(whole, a.shape[-1] - 1)[..., None]
    before, own = (np.take_along_axis(of, last, -1)[..., 0] for of in (cumulated - pi, pi))
    return np.where(np.isnan(pi[..., 0]), np.nan, whole + (share - before) / np.where(own > 0, own, np.nan))


# Each takes (magnitudes, squares), with noise subtracted, on the last axis
_FIGURES: dict[str, Callable[[NDArray, NDArray], NDArray]] = {
    "PR": lambda a, squared: participation(a.sum(-1), squared.sum(-1)),
    "PR/n": lambda a, squared: participation(a.sum(-1), squared.sum(-1)) / a.shape[-1],
    "entropy": lambda a, _: entropy(np.maximum(a, 0)),
    "Gini": lambda a, _: gini(np.abs(a)),
    "max": lambda a, _: largest(np.maximum(a, 0)),
    "n_50": lambda a, _: fewest(np.maximum(a, 0), 0.5),
    "n_90": lambda a, _: fewest(np.maximum(a, 0), 0.9),
}
FIGURES = tuple(_FIGURES)
LEVELS = ("global", "within layers")


# From scores to statistics of weighted prompts


def figures_of(names: Iterable[str] = FIGURES, levels: Iterable[str] = LEVELS) -> Measure:
    """Several measures at several levels from the same magnitudes: weights → r × levels × measures."""
    figures = [_FIGURES[name] for name in names]
    levels = tuple(levels)

    def make(scores: Scores) -> Statistic:
        magnitude, square = scores.magnitude(), scores.square()
        layers = [np.flatnonzero(scores.layer == layer) for layer in np.unique(scores.layer)]

        def found(weights: NDArray) -> NDArray:
            a, squared = magnitude(weights), square(weights)
            at = {
                "global": lambda: _all(figures, a, squared),
                "within layers": lambda: _within(figures, a, squared, layers),
            }
            return np.stack([at[level]() for level in levels], axis=1)

        return found

    return make


def figure_of(name: str, level: str = "global") -> Measure:
    """One of them as a measure of its own."""

    def make(scores: Scores) -> Statistic:
        found = figures_of((name,), (level,))(scores)
        return lambda weights: found(weights)[:, 0, 0]

    return make


participation_ratio = figure_of("PR")


def _all(figures: list[Callable[[NDArray, NDArray], NDArray]], a: NDArray, squared: NDArray) -> NDArray:
    return np.stack([figure(a, squared) for figure in figures], axis=-1)


def _within(
    figures: list[Callable[[NDArray, NDArray], NDArray]], a: NDArray, squared: NDArray, layers: list[NDArray]
) -> NDArray:
    """The layers' values, weighted by their mass; a layer without any does not count."""
    found = np.stack([_all(figures, a[:, layer], squared[:, layer]) for layer in layers], axis=1)
    mass = np.maximum(np.stack([a[:, layer].sum(-1) for layer in layers], axis=1), 0)[..., None]
    mass = np.where(np.isnan(found), 0, mass)
    total = mass.sum(1)
    return (mass * np.nan_to_num(found)).sum(1) / np.where(total > 0, total, np.nan)


def spread(
    ar: Circuit | Scores,
    *others: Circuit | Scores,
    parts: Iterable[str] = tuple(PARTS)[:3],
    figures: Iterable[str] = FIGURES,
    k: int | None = None,
    seed: int = 0,
) -> Result:
    """Every measure of each model, and its change from the first. "neurons" is a part if they were attributed."""
    first, *rest = (scores_of(one, k) for one in (ar, *others))
    figures = tuple(figures)
    rows = [row for part in parts for row in _rows(first, rest, part, figures, seed)]
    table = pd.DataFrame(rows)
    return Result(
        name="specialization",
        table=table.assign(q=adjusted(table["p"])),
        title="How many components share the work",
        caption="PR, the participation ratio, counts the components that share the work: 1 if one does everything, n "
        "if all do the same; PR/n is their share of all. A change right of 0 means that the model is more distributed "
        "than the AR twin on the same prompts (for Gini and max, left of 0). Grey: the value for scores without any "
        "consistent effect.",
        drawing="forest",
        about={
            "axes": {"rows": ["part", "level", "model"], "colour": "task", "facet": "figure"},
            "k": k, "seed": seed, "reference": None,
        },
    )  # fmt: skip


def _rows(first: Scores, rest: list[Scores], part: str, figures: tuple[str, ...], seed: int) -> list[dict[str, Any]]:
    base, *others = (one.part(part) for one in (first, *rest))
    levels = LEVELS[: _levels(base)]
    if not levels:
        return []
    make, rows = figures_of(figures, levels), []
    found, changes = side_by_side(make, base, *others)
    nulls = [_null(make(one), one.n, seed) for one in (base, *others)]
    for (row, level), (column, name) in product(enumerate(levels), enumerate(figures)):
        named = {"part": part, "level": level}
        for one, of, null in zip((base, *others), found, nulls, strict=True):
            chance = {key: values[row, column] for key, values in null.items()}
            rows.append({**label(one), **named, "figure": name, **of[row, column].row(), "p": np.nan, **chance})
        for one, of in zip(others, changes, strict=True):
            changed = {"model": f"{one.model} − {base.model}", "figure": f"Δ {name}"}
            rows.append({**label(one), **named, **changed, **of[row, column].row(p=True), "null": 0.0})
    return rows


def _levels(scores: Scores) -> int:
    """How many levels apply: with one MLP per layer there is no spread within layers; without components there is
    none."""
    count = scores.values.shape[1]
    return 0 if count == 0 else 1 if count <= scores.n_layers else 2


def _null(found: Statistic, n: int, seed: int) -> dict[str, NDArray]:
    """The measures without any consistent effect: prompts keep the sizes of their scores and get random signs."""
    signs = np.random.default_rng(seed).integers(0, 2, (_NULL_DRAWS, n)) * 2.0 - 1
    drawn = found(signs / n)
    drawn = np.where(np.isfinite(drawn).mean(0) < 0.5, np.nan, drawn)  # usually no noise is left
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # measures that are defined nowhere
        low, middle, high = np.nanquantile(drawn, [0.025, 0.5, 0.975], axis=0)
    return {"null": middle, "null_low": low, "null_high": high}
