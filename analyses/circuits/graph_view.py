"""The circuit graph as a view: one or two circuits in one layout by layer.

    circuits.graph_view(ar, diffusion)                       # edges in both, and in one only
    circuits.graph_view(ar, diffusion, seed=ar_of_seed_2)    # with each edge's score in a second seed

The strongest `k` edges of each are kept, with their rank in both, so that a slider in the browser can choose how many
to show. A node has its own score in each model, and the difference between the two on the same prompts. If circuits
have the scores of every prompt, an edge has the 95% interval of its mean over prompts; a node always has one. The score
of the same edge or node in a second seed is its seed null.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyses import statistics
from analyses.circuits.circuit import Circuit
from analyses.circuits.graph import Target
from probe.errors import ProbeError
from probe.views import View

STRONGEST = 300


def graph_view(*circuits: Circuit, k: int = STRONGEST, seed: Circuit | None = None, seed_of: int = 0) -> View:
    """The view of one circuit, or of two (the AR model's and its twin's). `seed_of` says whose second
    seed `seed` is."""
    _refuse_other_shapes([*circuits, *([seed] if seed is not None else [])])
    graph = circuits[0].graph
    ranks = [_ranks(one) for one in circuits]
    chosen = np.argwhere(np.minimum.reduce(ranks) <= k)
    nodes = _Nodes(graph.n_layers)
    edges: list[dict[str, Any]] = []
    intervals = [_intervals(one, chosen) for one in circuits]
    seed_ranks = _ranks(circuits[0] if seed is None else seed)
    for row, (source, target) in enumerate(chosen):
        read = graph.target_values[target]
        facts = {
            "source": nodes.at(graph.sources[source]),
            "kind": read.kind,
            "side": _side(read, directions=graph.directions),
            "scores": [_short(one.scores[source, target]) for one in circuits],
            "ranks": [int(rank[source, target]) for rank in ranks],
            "low": [None if low is None else _short(low[row]) for low, _ in intervals],
            "high": [None if high is None else _short(high[row]) for _, high in intervals],
            "seed": None if seed is None else _short(seed.scores[source, target]),
            "seed_rank": None if seed is None else int(seed_ranks[source, target]),
        }
        # A key or a value of grouped heads is used by each of them: one edge, drawn to all.
        for turn, reader in enumerate(graph.nodes_of(read) or ["logits"]):
            edges.append({**facts, "target": nodes.at(reader), "copy": turn > 0})
    about = circuits[0].about
    names = [one.about.model for one in circuits]
    data: dict[str, Any] = {
        "title": f"The circuit{'s' * (len(names) > 1)} of {' and '.join(names)} on {about.task}",
        "about": f"{about.method}, {about.steps} steps, {about.n} prompts; the strongest {k} edges of each",
        "models": names,
        "seed": None if seed is None else seed.about.model,
        "seed_of": min(seed_of, len(names) - 1),
        "n_edges": graph.n_edges,
        "n_layers": graph.n_layers,
        "nodes": _with_scores(nodes, circuits, seed),
        "edges": edges,
    }
    return View("circuit_graph", data)


class _Nodes:
    """The indices of nodes in the view's list, in the order in which edges name them."""

    def __init__(self, n_layers: int) -> None:
        self._n_layers = n_layers
        self.known: list[dict[str, Any]] = []
        self._at: dict[str, int] = {}

    def numbers(self) -> dict[str, int]:
        """Each node's index by its name."""
        return dict(self._at)

    def at(self, name: str) -> int:
        if name not in self._at:
            self._at[name] = len(self.known)
            self.known.append(_node(name, self._n_layers))
        return self._at[name]


def _with_scores(nodes: _Nodes, circuits: Sequence[Circuit], seed: Circuit | None) -> list[dict[str, Any]]:
    """The nodes with their own scores: in each model, the difference second minus first, and in the seed."""
    row_of = {name: row for row, name in enumerate((*circuits[0].graph.sources, "logits"))}
    of_models = [_means(one.per_example) for one in circuits]
    paired = len(circuits) == 2 and circuits[0].n == circuits[1].n
    change = _means(circuits[1].per_example - circuits[0].per_example) if paired else None
    for name, at in nodes.numbers().items():
        row = row_of.get(name)
        if row is None or name in ("input", "logits"):
            continue
        nodes.known[at] |= {
            "scores": [figures[row] for figures in of_models],
            "change": None if change is None else change[row],
            "seed": None if seed is None else _short(seed.per_example[:, row].mean()),
        }
    return nodes.known


def _means(values: NDArray) -> list[list[float | None]]:
    """The mean over prompts of each column, with its 95% interval."""
    if len(values) < 2:
        return [[_short(value), None, None] for value in values.mean(0)]
    found = statistics.mean(values)
    figures = zip(*(np.asarray(getattr(found, name)) for name in ("estimate", "low", "high")), strict=True)
    return [[_short(one) for one in row] for row in figures]


def _short(value: NDArray | float) -> float:
    """Rounded to four digits."""
    return float(f"{float(value):.4g}")


def _node(name: str, n_layers: int) -> dict[str, Any]:
    if name == "input":
        return {"label": "input", "layer": -1, "kind": "input"}
    if name == "logits":
        return {"label": "logits", "layer": n_layers, "kind": "logits"}
    if name.startswith("m"):
        return {"label": f"MLP {name[1:]}", "layer": int(name[1:]), "kind": "mlp"}
    layer, _, head = name[1:].partition(".h")
    return {"label": f"L{layer}H{head}", "layer": int(layer), "head": int(head), "kind": "head"}


def _side(read: Target, *, directions: bool) -> str | None:
    """Whether a key or value is left or right of the query that reads it, if the circuit has directions."""
    if not directions or read.kind not in ("k", "v"):
        return None
    return "right" if read.from_right else "left"


def _ranks(circuit: Circuit) -> NDArray:
    """Each edge's rank by |score|, 1 being the strongest; cells without an edge come last."""
    strength = np.where(circuit.graph.valid, np.abs(circuit.scores), -1.0)
    ranks = np.empty(strength.size, dtype=np.int64)
    ranks[np.argsort(-strength, axis=None, kind="stable")] = np.arange(1, strength.size + 1)
    ranks = ranks.reshape(strength.shape)
    return np.where(circuit.graph.valid, ranks, np.iinfo(np.int64).max)


def _intervals(circuit: Circuit, chosen: NDArray) -> tuple[NDArray, NDArray] | tuple[None, None]:
    """The 95% interval of some edges' means over prompts."""
    if circuit.by_example is None or circuit.n < 2:
        return None, None
    found = statistics.mean(circuit.by_example[:, circuit.graph.numbers[chosen[:, 0], chosen[:, 1]]])
    return np.asarray(found.low), np.asarray(found.high)


def _refuse_other_shapes(circuits: list[Circuit]) -> None:
    shapes = {one.graph for one in circuits}
    if len(shapes) > 1:
        raise ProbeError(
            "a circuit graph",
            expected="circuits of one shape, with the same position roles and directions",
            found=", ".join(f"{one.about.model}: {one.graph.n_layers} × {one.graph.n_heads}" for one in circuits),
            remedy="Draw each alone.",
        )
