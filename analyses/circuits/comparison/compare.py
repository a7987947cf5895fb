"""Compare: how much of one model's circuit is also in another's, on a scale from chance to the best possible.

    compare(ar, diffusion).table                # one row per measure
    compare(ar, diffusion, cpt, second_seed)    # the first against each of the others

An overlap by itself says nothing. Two random sets of K of N edges have a Jaccard overlap of K/(2N-K) (`null`). And one
model does not agree with itself on other prompts, so the best possible overlap is that of the circuits of two disjoint
halves of the prompts *in one model* (`ceiling`: the mean over both models and many ways to halve).

    retention R = (J - J₀) / (J_split - J₀)

accounts for both: 0 is chance, 1 is the best possible. Its J is measured between halves too (one model's circuit on one
half, the other model's on the other half), because a ceiling from half of the prompts is not a ceiling for a J from all
of them. So two models with the same weights have R = 1, not more. Where the ceiling is not above chance, R is NaN.

Measures, each for all edges and for each kind of edge (with the same share taken of each kind):

    jaccard            the strongest K of each; over several K
    retention          as above
    spearman           rank correlation of |scores|
    weighted_jaccard   Σ min / Σ max of |scores| that add up to 1; no K

Kinds: `into q`, `from heads` and so on; and if circuits were attributed with directions, `causal` (edges that an AR
model has as well) and `right to left` (attention to later positions, which it does not have).

Intervals resample the prompts, the same ones in both models. The two measures without a K use all edges; their spread
and their ceiling are estimated from 32,768 edges if a kind has more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses import statistics
from analyses.circuits.circuit import Circuit
from analyses.circuits.comparison.overlap import (
    SCALARS,
    Ranked,
    chance,
    jaccard,
    scalars,
    shares,
    similarity,
    weighted_jaccard,
)
from analyses.circuits.comparison.resampling import (
    Strengths,
    about_estimate,
    halves,
    in_chunks,
    refuse_unlike,
)
from analyses.circuits.graph import Graph
from analyses.result import Result

KS = (100, 200, 500, 1000, 2000, 5000)
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)  # for graphs too small for these
SOME = 2**15  # edges of a kind, enough for the spread of a measure without a k
FEWEST = 5  # edges of a kind; with fewer an overlap may be a coincidence

Columns = dict[str, NDArray]  # of the table, each (subsets × figures)


def compare(
    circuit: Circuit,
    *others: Circuit,
    ks: Sequence[int] | None = None,
    resamples: int = 400,
    splits: int = 20,
    seed: int = 0,
) -> Result:
    """The overlap of a circuit with each of the others, with chance, ceiling and interval.

    >>> how = analyses.circuits.AttributionOptions(example_edges=True)
    >>> circuit = analyses.circuits.attribute(pair.ar, batch, reading="ar", steps=2, options=how)
    >>> table = analyses.circuits.compare(circuit, circuit).table
    >>> float(table.loc[table["measure"] == "jaccard", "estimate"].min())  # the same circuit twice
    1.0
    """
    for other in others:
        refuse_unlike(circuit, other)
    ks = tuple(ks or budgets(circuit.graph.n_edges))
    parts = [_compared(Sides(circuit, other, ks, seed), resamples, splits) for other in others]
    return Result(
        name="circuit_overlap",
        table=pd.concat(parts, ignore_index=True),
        title=f"Circuit overlap with {circuit.about.model} on {circuit.about.task}",
        caption="Overlap of the strongest K edges. Dotted: chance. Dashed: the same model on other "
        "prompts, the best possible. Retention, R, says where between the two the overlap is: 0 is chance, 1 "
        "the best possible. Bands are 95% intervals over prompts.",
        drawing="circuit_overlap",
        about={**facts_of(circuit), "resamples": resamples, "splits": splits, "seed": seed},
    )


def mass(*circuits: Circuit, resamples: int = 1000, seed: int = 0) -> Result:
    """The share of a circuit's attribution that each kind of edge has, including right-to-left attention."""
    parts = []
    for one in circuits:
        kinds, strengths = subsets(one.graph), Strengths(one)
        masks = np.stack(list(kinds.values()), axis=1).astype(np.float32)
        whole = (shares(strengths.whole) @ masks)[0]
        low = high = np.full_like(whole, np.nan)
        if strengths.known:
            weights = statistics.resamples(one.n, resamples, seed=seed)
            low, high = about_estimate(whole, _masses(strengths, masks, weights), most=1.0)
        figures = {"estimate": whole, "low": low, "high": high, "n": one.n, "null": masks.mean(0)}
        labels = {"model": one.about.model, "task": one.about.task, "subset": list(kinds)}
        parts.append(pd.DataFrame({**labels, **figures, "unit": "share of |score|"}).query("subset != 'all'"))
    axes = {"x": "subset", "colour": "model", "x_title": "kind of edge", "y_title": "share of |score|"}
    return Result(
        name="circuit_mass",
        table=pd.concat(parts, ignore_index=True),
        title=f"Attribution by kind of edge, on {circuits[0].about.task}",
        caption="The share of all |edge scores| that each kind of edge has; grey, its share of the edges. Kinds "
        "overlap.",
        drawing="bars",
        about={**facts_of(circuits[0]), "resamples": resamples, "seed": seed, "axes": axes},
    )


def _masses(strengths: Strengths, masks: NDArray, weights: NDArray) -> NDArray:
    return in_chunks(lambda w: shares(strengths.under(w)) @ masks, len(masks), weights)


def budgets(edges: int) -> list[int]:
    """The K at which circuits of a graph are compared: 100 to 5000, or shares of a graph too small for these."""
    fit = [k for k in KS if k <= edges / 2]
    return fit if len(fit) >= 4 else sorted({max(1, round(share * edges)) for share in SHARES})


def subsets(graph: Graph) -> dict[str, NDArray[np.bool_]]:
    """Kinds of edges by name, as masks of the edges (in the order of the matrix)."""
    source, target = np.nonzero(graph.valid)
    kinds = np.array([one.kind for one in graph.target_values])[target]
    from_right = np.array([one.from_right for one in graph.target_values])[target]
    sources = graph.source_kinds[source]
    found = {"all": np.ones(len(source), dtype=bool)}
    if graph.directions:
        found |= {"causal": ~from_right, "right to left": from_right}
    found |= {f"into {kind}": kinds == kind for kind in ("q", "k", "v", "mlp", "logits")}
    names = {"input": "input", "head": "heads", "mlp": "MLPs"}
    return found | {f"from {name}": sources == kind for kind, name in names.items()}


def facts_of(circuit: Circuit) -> dict[str, Any]:
    """A circuit's provenance, for the `about` of a result."""
    facts = ("task", "reading", "method", "steps", "metric", "ablation", "scope")
    return {**{name: getattr(circuit.about, name) for name in facts}, "edges": circuit.graph.n_edges}


@dataclass(frozen=True, eq=False)
class Sides:
    """Two circuits and the measures of their overlap: for each kind of edge, Jaccard at every k and two without a k."""

    a: Circuit
    b: Circuit
    ks: tuple[int, ...]
    seed: int

    @cached_property
    def subsets(self) -> dict[str, NDArray[np.bool_]]:
        return subsets(self.a.graph)

    @cached_property
    def strengths(self) -> tuple[Strengths, Strengths]:
        return Strengths(self.a), Strengths(self.b)

    @property
    def known(self) -> bool:
        return all(each.known for each in self.strengths)

    @property
    def edges(self) -> int:
        return self.a.graph.n_edges

    def ks_of(self, subset: NDArray) -> list[int]:
        """The same shares of a subset as of all edges."""
        return [max(1, round(k * subset.mean())) for k in self.ks]

    @cached_property
    def thinned(self) -> list[NDArray[np.intp]]:
        """At most `SOME` edges of each subset, drawn once."""
        generator = np.random.default_rng(self.seed)
        edges = [np.flatnonzero(of) for of in self.subsets.values()]
        return [np.sort(generator.permutation(one)[:SOME]) for one in edges]

    def whole(self) -> NDArray:
        """(subsets × figures), of all prompts and all edges."""
        one, two = (each.whole for each in self.strengths)
        pairs = [(Ranked(one[:, of]), Ranked(two[:, of]), self.ks_of(of)) for of in self.subsets.values()]
        return np.concatenate([similarity(*pair) for pair in pairs])

    def resampled(self, weights: NDArray) -> NDArray:
        """(draws × subsets × figures)"""

        def both(w: NDArray) -> NDArray:
            one, two = (_Drawn(self, each.under(w)) for each in self.strengths)
            return one.against(two)

        return in_chunks(both, self.edges, weights)

    def halved(self, first: NDArray, second: NDArray, *, at_k: bool = False) -> tuple[NDArray, NDArray]:
        """The measures within each model (their mean) and across the two, between the halves given by weights."""

        def four(w: NDArray, v: NDArray) -> NDArray:
            a1, a2, b1, b2 = (_Drawn(self, each.under(half)) for each in self.strengths for half in (w, v))
            within = (a1.against(a2, at_k=at_k) + b1.against(b2, at_k=at_k)) / 2
            return np.stack([within, (a1.against(b2, at_k=at_k) + b1.against(a2, at_k=at_k)) / 2], axis=1)

        found = in_chunks(four, self.edges, first, second)
        return found[:, 0], found[:, 1]

    def nulls(self, draws: int = 20) -> NDArray:
        """(subsets × figures): chance for Jaccard, 0 for Spearman, and the weighted Jaccard of strengths shuffled among
        the edges.
        """
        generator = np.random.default_rng(self.seed)
        rows = []
        for of in self.subsets.values():
            one, two = (each.whole[:, of] for each in self.strengths)
            mixed = Ranked(generator.permuted(np.repeat(two, draws, axis=0), axis=1))
            weighted = weighted_jaccard(Ranked(np.repeat(one, draws, axis=0)), mixed).mean()
            rows.append([*chance(Ranked(one), Ranked(two), self.ks_of(of))[0], 0.0, weighted])
        return np.array(rows)


class _Drawn:
    """One circuit's strengths in some draws, each subset sorted only once."""

    def __init__(self, sides: Sides, strength: NDArray):
        self.sides = sides
        self.subsets = [Ranked(strength[:, of]) for of in sides.subsets.values()]
        self._some = [strength[:, of] for of in sides.thinned]

    @cached_property
    def thinned(self) -> list[Ranked]:
        return [Ranked(one) for one in self._some]

    def against(self, other: _Drawn, *, at_k: bool = False) -> NDArray:
        """(draws × subsets × figures). Those without a k use the thinned subsets: some of the edges suffice for their
        spread, so that half a million need not be ranked a thousand times. `at_k`: only the others."""
        ks = [self.sides.ks_of(of) for of in self.sides.subsets.values()]
        each = zip(self.subsets, other.subsets, ks, strict=True)
        found = np.stack([jaccard(one, two, k) for one, two, k in each], axis=1)
        if at_k:
            return found
        some = [scalars(one, two) for one, two in zip(self.thinned, other.thinned, strict=True)]
        return np.concatenate([found, np.stack(some, axis=1)], axis=2)


def _compared(sides: Sides, resamples: int, splits: int) -> pd.DataFrame:
    """The table of two circuits."""
    n, seed = sides.a.n, sides.seed
    whole, nulls = sides.whole(), sides.nulls()
    if not sides.known:
        nowhere = np.full_like(whole, np.nan)
        return _table(sides, _columns(whole, (nowhere, nowhere), nulls, nowhere))
    interval = about_estimate(whole, sides.resampled(statistics.resamples(n, resamples, seed=seed)), most=1.0)
    within, across = (each.mean(0) for each in sides.halved(*halves(n, splits, seed=seed)))
    at_k = np.s_[:, : len(sides.ks)]  # the measures with a k; retention uses only these
    retained = _retention(across[at_k], within[at_k], nulls[at_k])
    around = about_estimate(retained, _resampled_retention(sides, nulls[at_k], resamples // 4))
    return _table(
        sides,
        _columns(whole, interval, nulls, within),
        _columns(retained, around, np.zeros_like(retained), np.ones_like(retained)),
    )


def _columns(estimate: NDArray, interval: tuple[NDArray, NDArray], null: NDArray, ceiling: NDArray) -> Columns:
    return {"estimate": estimate, "low": interval[0], "high": interval[1], "null": null, "ceiling": ceiling}


def _retention(across: NDArray, within: NDArray, nulls: NDArray) -> NDArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(within > nulls + 1e-9, (across - nulls) / (within - nulls), np.nan)


def _resampled_retention(sides: Sides, nulls: NDArray, count: int, each: int = 2) -> NDArray:
    """Retention of resampled prompts, each resample halved in a few ways."""
    drawn = np.repeat(statistics.resamples(sides.a.n, max(count, 2), seed=sides.seed + 1), each, axis=0)
    first, second = halves(sides.a.n, len(drawn), seed=sides.seed + 2, drawn=drawn)
    halved = sides.halved(first, second, at_k=True)
    within, across = (part.reshape(-1, each, *part.shape[1:]).mean(1) for part in halved)
    return _retention(across, within, nulls)


def _table(sides: Sides, overlaps: Columns, retained: Columns | None = None) -> pd.DataFrame:
    a, b = sides.a.about, sides.b.about
    rows = []
    for number, (kind, of) in enumerate(sides.subsets.items()):
        names = {"model": a.model, "other": b.model, "task": a.task, "subset": kind, "edges": int(of.sum())}
        for at, k in enumerate(sides.ks_of(of)):
            where = {**names, "k": k, "share": sides.ks[at] / sides.edges}
            for measure, columns in {"jaccard": overlaps, "retention": retained}.items():
                if columns is not None and (k >= FEWEST or kind == "all"):
                    rows.append({**where, "measure": measure, **_cell(columns, number, at)})
        for at, measure in enumerate(SCALARS, start=len(sides.ks)):
            rows.append({**names, "k": 0, "share": np.nan, "measure": measure, **_cell(overlaps, number, at)})
    return pd.DataFrame(rows).assign(n=sides.a.n)


def _cell(columns: Columns, *at: int) -> dict[str, float]:
    return {name: float(values[at]) for name, values in columns.items()}
