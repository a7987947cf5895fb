"""How widely attribution is spread over components: six figures, over all components and within layers.

With a = |s(v)| over n components and π = a/Σa,

    PR             participation ratio (Σa)²/Σa²: how many components share the work, from 1 to n; PR/n is its share
    entropy        H(π)/ln n, 0 to 1
    Gini           0 if all have the same, towards 1 if one has all
    max            the largest share
    n_50, n_90     the fewest components that have half, nine tenths

"within layers" is each layer's figure, weighted by the layer's share of the mass: a model that moves its computation
into few layers has a lower global PR without any layer being less distributed, and then depth, not spread, has changed.

PR is a ratio of sums, from each of which noise can be taken out (see `analyses.statistics.magnitudes`); it is the one
that verdicts rest on. The others have no such form. Their components within noise count as 0, and what noise is left
in them is what the null shows: the figure of the same scores with every prompt's sign drawn at random, so that no
component has any consistent effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.circuits.circuit import Circuit
from analyses.front_loading import shares
from analyses.result import Result
from analyses.scores import PARTS, Scores, change, label, measured, scores_of
from analyses.statistics import Statistic, adjusted

_NULL_DRAWS = 200

# Closed forms, on the last axis: magnitudes (… × n) of which none is below 0


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
    """How many of the largest have this share, the last of them counted as the part of it that is needed."""
    pi = -np.sort(-shares(a), axis=-1)
    cumulated = np.cumsum(pi, axis=-1)
    whole = (cumulated < share).sum(-1)
    last = np.minimum(whole, a.shape[-1] - 1)[..., None]
    before, own = (np.take_along_axis(of, last, -1)[..., 0] for of in (cumulated - pi, pi))
    return np.where(np.isnan(pi[..., 0]), np.nan, whole + (share - before) / np.where(own > 0, own, np.nan))


_OF_MAGNITUDES: dict[str, Callable[[NDArray], NDArray]] = {
    "entropy": entropy,
    "Gini": gini,
    "max": largest,
    "n_50": lambda a: fewest(a, 0.5),
    "n_90": lambda a: fewest(a, 0.9),
}
FIGURES = ("PR", "PR/n", *_OF_MAGNITUDES)
LEVELS = ("global", "within layers")

# From scores to statistics of weighted prompts


def figure_of(name: str, level: str = "global") -> Callable[[Scores], Statistic]:
    """A figure as a function from scores to a statistic of weighted prompts."""

    def over_all(scores: Scores) -> Statistic:
        if name in ("PR", "PR/n"):
            return _participation_of(scores, name)
        return _plain_of(scores, _OF_MAGNITUDES[name])

    def within(scores: Scores) -> Statistic:
        layers = [scores.among(scores.layer == layer) for layer in np.unique(scores.layer)]
        return _within([over_all(one) for one in layers], layers)

    return over_all if level == "global" else within


def participation_ratio(scores: Scores) -> Statistic:
    return _participation_of(scores, "PR")


def _participation_of(scores: Scores, name: str) -> Statistic:
    magnitude, square = scores.magnitude(), scores.square()
    scale = scores.values.shape[1] if name == "PR/n" else 1
    return lambda weights: participation(magnitude(weights).sum(-1), square(weights).sum(-1)) / scale


def _plain_of(scores: Scores, figure: Callable[[NDArray], NDArray]) -> Statistic:
    magnitude = scores.magnitude()
    return lambda weights: figure(np.maximum(magnitude(weights), 0))


def _within(figures: list[Statistic], layers: list[Scores]) -> Statistic:
    """The layers' figures, weighted by their mass; a layer without any has no say."""
    masses = [one.magnitude() for one in layers]

    def mean(weights: NDArray) -> NDArray:
        mass = np.maximum(np.stack([of(weights).sum(-1) for of in masses], axis=-1), 0)
        found = np.stack([of(weights) for of in figures], axis=-1)
        mass = np.where(np.isnan(found), 0, mass)
        total = mass.sum(-1)
        return (mass * np.nan_to_num(found)).sum(-1) / np.where(total > 0, total, np.nan)

    return mean


def spread(
    ar: Circuit | Scores,
    *others: Circuit | Scores,
    parts: Iterable[str] = tuple(PARTS)[:3],
    figures: Iterable[str] = FIGURES,
    k: int | None = None,
    seed: int = 0,
) -> Result:
    """Every figure of each model, and its change from the first. "neurons" is a part if they were attributed."""
    first, *rest = (scores_of(one, k) for one in (ar, *others))
    cells = [
        (part, level, name) for part in parts for level in LEVELS for name in figures if _tells(part, level, first)
    ]
    rows = [row for cell in cells for row in _rows(first, rest, *cell, seed)]
    table = pd.DataFrame(rows)
    return Result(
        name="specialization",
        table=table.assign(q=adjusted(table["p"])),
        title="How many components share the work",
        reads="PR counts components: 1 if one does everything, n if all do the same. A change right of 0 says that the "
        "model is more distributed than the AR twin on the same prompts (for Gini and max, left of 0). Grey is what "
        "scores without any consistent effect would give.",
        drawing="forest",
        about={
            "axes": {"rows": ["part", "level", "model"], "colour": "task", "facet": "figure"},
            "k": k, "seed": seed, "reference": None,
        },
    )  # fmt: skip


def _tells(part: str, level: str, scores: Scores) -> bool:
    """One MLP a layer cannot be spread within its layer; and a part may not be there."""
    among = scores.part(part)
    return among.values.shape[1] > 0 and (level == "global" or among.values.shape[1] > scores.n_layers)


def _rows(first: Scores, rest: list[Scores], part: str, level: str, name: str, seed: int) -> list[dict[str, Any]]:
    make = figure_of(name, level)
    base, others = first.part(part), [one.part(part) for one in rest]
    named = {"part": part, "level": level}
    rows = [
        {
            **label(one),
            **named,
            "figure": name,
            **measured(make, one).row(),
            "p": np.nan,
            **_null(make(one), one.n, seed),
        }
        for one in (base, *others)
    ]
    for one in others:
        found = change(make, base, one)
        model = f"{one.model} − {base.model}"
        rows.append({**label(one), "model": model, **named, "figure": f"Δ {name}", **found.row(p=True), "null": 0.0})
    return rows


def _null(found: Statistic, n: int, seed: int) -> dict[str, float]:
    """The figure without any consistent effect: prompts keep the sizes of their scores, and lose their signs."""
    signs = np.random.default_rng(seed).integers(0, 2, (_NULL_DRAWS, n)) * 2.0 - 1
    drawn = found(signs / n)
    known = drawn[np.isfinite(drawn)]
    if len(known) < _NULL_DRAWS / 2:  # noise only: more often than not, nothing is left of it
        return {"null": np.nan, "null_low": np.nan, "null_high": np.nan}
    low, middle, high = np.quantile(known, [0.025, 0.5, 0.975])
    return {"null": float(middle), "null_low": float(low), "null_high": float(high)}
