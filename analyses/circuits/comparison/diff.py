"""The circuit diff: which edges the second model kept, lost and gained, compared with what a new seed would change.

    diff(ar, diffusion, null=[(ar, ar_seed2), (diffusion, diffusion_seed2)]).table

An edge belongs to a model's circuit if it is among the strongest K. An edge of the first circuit only may be lost, and
one of the second only may be gained. But two circuits also differ for two reasons that mean nothing:

**Other prompts* would have put other edges among the strongest K. So the prompts are resampled, the same ones in both
models, and `confidence` is the share of resamples in which the edge is in the same circuits.

*Another seed* would have trained another circuit. So `p` says how common such a loss is between two models that differ
in their seed only. An edge's strength is its share of all |scores|, and a loss is measured by the part that is kept,

    ratio = strength in the other model / strength in the model whose circuit it belongs to.

The ratios of a pair of seeds, in both directions, are the null: p = (1 + the number that are no larger) / (1 + their
number). With several pairs of seeds p is the largest of theirs. (The AR model's seeds are trained apart from the first
step, the twin's are adapted from one model: a change counts only if neither kind of chance explains it.)

An edge is called lost or gained where p ≤ `rate` and its confidence is high enough, and is `undecided` otherwise. So if
the second model were only another seed, at most a share `rate` of a circuit's edges would be called, on average over
seeds. One pair of seeds may differ more than the next, so every additional pair makes the call safer. (`q` corrects for
the number of edges.) If the seeds have little in common, only an edge that keeps almost nothing is called.

Without a second seed, the null is each model against itself on other prompts (disjoint halves). That is less than the
difference between seeds, and the figure's caption says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses import statistics
from analyses.circuits.circuit import Circuit
from analyses.circuits.comparison.compare import facts_of
from analyses.circuits.comparison.overlap import Ranked, shares
from analyses.circuits.comparison.resampling import (
    Strengths,
    about_estimate,
    halves,
    in_chunks,
    refuse_unlike,
)
from analyses.result import Result
from probe.errors import ProbeError

STATUSES = ("kept", "lost", "gained", "undecided")
_SPLITS = 10  # ways to halve the prompts, if there is no second seed


@dataclass(frozen=True)
class DiffOptions:
    """When `diff` calls an edge lost or gained."""

    rate: float = 0.05
    """The share of a circuit's edges that may be called lost or gained if only the seed, or the prompts, changed."""

    confidence: float = 0.95
    """The share of resampled prompts in which an edge must be in the same circuits."""

    resamples: int = 400
    """How often the prompts are resampled."""

    seed: int = 0
    """Draws the resamples."""


DEFAULTS = DiffOptions()


def diff(
    a: Circuit,
    b: Circuit,
    *,
    null: Sequence[tuple[Circuit, Circuit]] = (),
    k: int | None = None,
    options: DiffOptions = DEFAULTS,
) -> Result:
    """The edges that b kept, lost and gained compared with a's circuit of k edges (None: 200, or a tenth of a small
    graph).

    `null` are pairs of circuits of models that differ in their seed only.
    """
    for one, other in ((a, b), *((a, one) for pair in null for one in pair)):
        refuse_unlike(one, other)
    k = min(200, round(0.1 * a.graph.n_edges)) if k is None else k
    a.mask(k)  # refuses a k that there is not
    found = _Found.of(a, b, k)
    table = _table(a, b, found, _nulls(a, b, null, k, options.seed), options)
    count = {status: int(np.count_nonzero(table["status"].to_numpy() == status)) for status in STATUSES}
    against = [f"{one.about.model} ~ {other.about.model}" for one, other in null] or ["other prompts of the same model"]
    return Result(
        name="circuit_diff",
        table=table,
        title=f"{b.about.model} compared with {a.about.model} on {a.about.task}: "
        + ", ".join(f"{number} {status}" for status, number in count.items()),
        caption=f"Edges among the strongest {k} of either model. Lost or gained: the edge has kept a smaller part of "
        f"its strength than {1 - options.rate:.0%} of the edges do between {', and between '.join(against)}, and "
        f"{options.confidence:.0%} of resampled prompts agree. If the models differed by no more than that, at most "
        f"{options.rate * k:.1f} edges of each would be called lost or gained.",
        drawing="circuit_diff",
        about={
            **facts_of(a),
            "n_layers": a.graph.n_layers,
            "n_heads": a.graph.n_heads,
            "n_kv_heads": a.graph.n_kv_heads,
            "k": k,
            "rate": options.rate,
            "confidence": options.confidence,
            "null": against,
            "counts": count,
            "resamples": options.resamples,
            "seed": options.seed,
        },
    )


@dataclass(frozen=True, eq=False)
class _Found:
    """The edges among the strongest k of either circuit, and in which of the two they are."""

    edges: NDArray[np.int_]  # among the edges of the graph
    in_a: NDArray[np.bool_]
    in_b: NDArray[np.bool_]
    share_a: NDArray
    share_b: NDArray
    k: int

    @classmethod
    def of(cls, a: Circuit, b: Circuit, k: int) -> _Found:
        strength = [Strengths(one).whole for one in (a, b)]
        inside = [Ranked(each).among(k)[0] for each in strength]
        edges = np.flatnonzero(inside[0] | inside[1])
        share = [shares(each)[0, edges] for each in strength]
        return cls(edges, inside[0][edges], inside[1][edges], share[0], share[1], k)

    @property
    def ratio(self) -> NDArray:
        """The part of an edge's strength that the other model keeps."""
        least, most = np.minimum(self.share_a, self.share_b), np.maximum(self.share_a, self.share_b)
        own, other = np.where(self.in_a, self.share_a, self.share_b), np.where(self.in_a, self.share_b, self.share_a)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.in_a & self.in_b, least / most, other / own)


def _nulls(a: Circuit, b: Circuit, pairs: Sequence[tuple[Circuit, Circuit]], k: int, seed: int) -> list[NDArray]:
    """The sorted ratios of each pair of models that differ only in their seed, or else of each model's halves."""
    if pairs:
        return [np.sort(_ratios(Strengths(one).whole, Strengths(other).whole, k)) for one, other in pairs]
    if not (Strengths(a).known and Strengths(b).known):
        raise ProbeError(
            f"the diff of {a.about.model!r} and {b.about.model!r}",
            expected="a null: a second seed, or edge scores of single examples",
            found="neither",
            remedy="Pass null=[(one, its second seed)], or attribute with example_edges=True.",
        )
    first, second = halves(a.n, _SPLITS, seed=seed)
    return [np.sort(_ratios(one.under(first), one.under(second), k)) for one in (Strengths(a), Strengths(b))]


def _ratios(one: NDArray, other: NDArray, k: int) -> NDArray:
    """The ratios of the strongest k of each in the other."""
    own = [shares(strength) for strength in (one, other)]
    inside = [Ranked(strength).among(k) for strength in (one, other)]
    return np.concatenate([own[1][inside[0]] / own[0][inside[0]], own[0][inside[1]] / own[1][inside[1]]])


def _table(a: Circuit, b: Circuit, found: _Found, nulls: list[NDArray], options: DiffOptions) -> pd.DataFrame:
    change = found.share_b - found.share_a
    agreed, low, high = _resampled(a, b, found, options)
    changed_sides = found.in_a ^ found.in_b
    by_null = [(1 + np.searchsorted(null, found.ratio, side="right")) / (1 + len(null)) for null in nulls]
    p = np.where(changed_sides, np.max(by_null, axis=0), np.nan)
    sure = changed_sides & (p <= options.rate) & ~(agreed < options.confidence)  # not known is not against
    status = np.select([~changed_sides, ~sure, found.in_a], ["kept", "undecided", "lost"], "gained")
    valid = a.graph.valid
    named = a.graph.frame().iloc[found.edges].reset_index(drop=True)
    table = named.assign(
        status=status,
        score=a.scores[valid][found.edges],
        other_score=b.scores[valid][found.edges],
        estimate=change,
        low=low,
        high=high,
        n=a.n,
        unit="share of |score|",
        ratio=found.ratio,
        confidence=agreed,
        p=p,
        q=statistics.adjusted(p),
    )
    for place, (name, label) in enumerate(_names(a, b).items()):
        table.insert(place, name, label)
    order = np.argsort(-np.maximum(found.share_a, found.share_b), kind="stable")
    return table.iloc[order].reset_index(drop=True)


def _resampled(a: Circuit, b: Circuit, found: _Found, options: DiffOptions) -> tuple[NDArray, NDArray, NDArray]:
    """For each edge, the share of resamples in which it is in the same circuits, and the interval of its change."""
    both = Strengths(a), Strengths(b)
    change = found.share_b - found.share_a
    if not (both[0].known and both[1].known):
        unknown = np.full(len(change), np.nan)
        return unknown, unknown, unknown

    def one(weights: NDArray) -> NDArray:
        strength = [each.under(weights) for each in both]
        inside = [Ranked(each).among(found.k)[:, found.edges] for each in strength]
        same = (inside[0] == found.in_a) & (inside[1] == found.in_b)
        share = [shares(each)[:, found.edges] for each in strength]
        return np.stack([same, share[1] - share[0]], axis=1)

    drawn = in_chunks(one, a.graph.n_edges, statistics.resamples(a.n, options.resamples, seed=options.seed))
    return drawn[:, 0].mean(0), *about_estimate(change, drawn[:, 1])


def _names(a: Circuit, b: Circuit) -> dict[str, Any]:
    return {"model": b.about.model, "other": a.about.model, "task": a.about.task}
