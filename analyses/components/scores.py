"""Scores: how much each head, MLP or neuron matters, example by example; the input of depth and spread measures.

A circuit's node attributions and the drops in a knock-out have the same form: one number per component and example.
Everything about the depth of the mass (`front_loading`) and its spread (`specialization`) is a function of their means,
so it is resampled without another forward pass:

    scores = scores_of(circuit)                    # heads and MLPs by their own attribution
    scores = scores_of(circuit, k=1000)            # by each one's edges among the strongest 1000
    measured(index_of, scores)                     # a measure of them, with its interval
    change(index_of, ar_scores, scores)            # how it differs from another model's

A *measure* turns scores into a function from weights of the examples to numbers (`scores.magnitude()` is one). Two
models are compared on the examples that both answered: `paired` refuses others. The input and the logits are not
components: every path starts at one and ends at the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.statistics import Estimate, Statistic, magnitudes, recentred, squares
from analyses.statistics.finite import refuse_not_finite
from analyses.statistics.recentred import COUNT
from probe.errors import ProbeError

if TYPE_CHECKING:
    from analyses.circuits import Circuit

KINDS = ("head", "mlp")
PARTS: dict[str, tuple[str, ...]] = {"all": KINDS, "attention": ("head",), "MLPs": ("mlp",), "neurons": ("neuron",)}


@dataclass(frozen=True, eq=False)
class Scores:
    """`values` (examples × components) with `nodes`: node, layer, head, kind, one row per component."""

    model: str
    task: str
    nodes: pd.DataFrame
    values: NDArray
    n_layers: int
    scope: str = ""
    examples: str = ""  # identifies the examples, for pairing

    def __post_init__(self) -> None:
        examples, nodes = range(len(self.values)), self.nodes["node"].tolist()
        refuse_not_finite(
            f"scores of {self.model!r} on {self.task!r}", self.values, {"example": examples, "node": nodes}
        )

    @property
    def n(self) -> int:
        return len(self.values)

    @cached_property
    def layer(self) -> NDArray:
        return self.nodes["layer"].to_numpy()

    @property
    def depth(self) -> NDArray:
        """The normalised depth of each layer: (l + ½)/L."""
        return depths(self.n_layers)

    def of_kind(self, *kinds: str) -> Scores:
        """Some kinds of components only."""
        return self.among(self.nodes["kind"].isin(kinds).to_numpy())

    def part(self, name: str) -> Scores:
        """All heads and MLPs, or the "attention", "MLPs" or "neurons" among the components."""
        return self.of_kind(*PARTS[name])

    def among(self, chosen: NDArray) -> Scores:
        nodes = self.nodes[chosen].reset_index(drop=True)
        return replace(self, nodes=nodes, values=self.values[:, chosen])

    def __getitem__(self, examples: slice | NDArray) -> Scores:
        return replace(self, values=self.values[examples], examples=f"{self.examples}[{examples}]")

    def magnitude(self) -> Statistic:
        """Weights of the examples → the components' magnitudes, with the noise subtracted."""
        return lambda weights: magnitudes(weights, self.values)

    def square(self) -> Statistic:
        return lambda weights: squares(weights, self.values)

    def by_layer(self, of_components: NDArray) -> NDArray:
        """Sums within layers: (… × components) → (… × layers)."""
        return of_components @ self.in_layer

    @cached_property
    def in_layer(self) -> NDArray:
        """(components × layers): each component's layer, one-hot."""
        return (self.layer[:, None] == np.arange(self.n_layers)).astype(float)


Measure = Callable[[Scores], Statistic]


def depths(n_layers: int) -> NDArray:
    return (np.arange(n_layers) + 0.5) / n_layers


def scores_of(circuit: Circuit | Scores, k: int | None = None) -> Scores:
    """The scores of a circuit's components: their own, or the sums over each one's edges among the strongest k.

    The strongest edges are chosen once, from all examples, and not resampled.
    """
    if isinstance(circuit, Scores):
        return circuit
    nodes, values = (circuit.nodes, circuit.per_node) if k is None else (circuit.graph.nodes(), _over_edges(circuit, k))
    kept = nodes["kind"].isin((*KINDS, "neuron")).to_numpy()
    about = circuit.about
    return Scores(
        model=about.model,
        task=about.task,
        nodes=nodes.loc[kept, ["node", "layer", "head", "kind"]].reset_index(drop=True),
        values=np.asarray(values, dtype=np.float64)[:, kept],
        n_layers=circuit.graph.n_layers,
        scope=about.scope,
        examples=f"{about.task}, seed {about.seed}, n {about.n}",
    )


def _over_edges(circuit: Circuit, k: int) -> NDArray:
    """(examples × nodes): each example's sum of scores over a node's edges among the strongest k."""
    out, into = circuit.ends(circuit.mask(k))
    logits = np.zeros((circuit.n, 1))  # no component
    return np.concatenate([out + into @ circuit.graph.feeds, logits], axis=1)


def paired(a: Scores, b: Scores) -> int:
    """How many examples two models share; refused if they did not answer the same ones."""
    if a.n != b.n or a.examples != b.examples or a.n_layers != b.n_layers:
        raise ProbeError(
            f"a comparison of {a.model!r} and {b.model!r}",
            expected="the same examples and the same number of layers for both",
            found=f"{a.examples or a.n} ({a.n_layers} layers) and {b.examples or b.n} ({b.n_layers} layers)",
            remedy="Attribute both on one batch.",
        )
    return a.n


def contrast(make: Measure, factors: Sequence[float]) -> Callable[..., Statistic]:
    """Σ factor · measure of each of several models, under the same weights: paired. (-1, 1) is b minus a."""

    def of(*several: Scores) -> Statistic:
        each = [(factor, make(one)) for factor, one in zip(factors, several, strict=True) if factor]
        return lambda weights: np.sum([factor * of_one(weights) for factor, of_one in each], axis=0)

    return of


def measured(make: Callable[..., Statistic], *several: Scores, count: int = COUNT) -> Estimate:
    """A measure of one model, or of several on the same examples, with its interval from `count` resamples.

    `statistics.recentred` says how the interval is made.
    """
    first, *others = several
    for other in others:
        paired(first, other)

    def statistic(*values: NDArray) -> Statistic:
        return make(*[replace(one, values=moved) for one, moved in zip(several, values, strict=True)])

    return recentred(statistic, *[one.values for one in several], count=count)


def change(make: Measure, a: Scores, b: Scores, *, count: int = COUNT) -> Estimate:
    """A measure of b minus that of a."""
    return measured(contrast(make, (-1, 1)), a, b, count=count)


def side_by_side(make: Measure, base: Scores, *others: Scores) -> tuple[list[Estimate], list[Estimate]]:
    """A measure of every model, and its change from the first to each of the others, all from the same resamples."""

    def of(*several: Scores) -> Statistic:
        each = [make(one) for one in several]

        def figures(weights: NDArray) -> NDArray:
            found = [one(weights) for one in each]
            return np.stack([*found, *(one - found[0] for one in found[1:])], axis=1)

        return figures

    found = measured(of, base, *others)
    rows = [found[at] for at in range(1 + 2 * len(others))]
    return rows[: 1 + len(others)], rows[1 + len(others) :]


def label(scores: Scores) -> dict[str, Any]:
    return {"model": scores.model, "task": scores.task, "scope": scores.scope}
