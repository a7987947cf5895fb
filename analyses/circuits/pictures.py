"""Figures of circuits: the tables behind the graph and the heatmap of a circuit.

picture(ar, diffusion).figure()        # the strongest edges of each, side by side, K on a slider
importance(ar, diffusion).figure()     # layer × head (and MLP), s(v) of each node
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses import statistics
from analyses.circuits.circuit import By, Circuit
from analyses.circuits.comparison.compare import facts_of
from analyses.circuits.selection import How, select
from analyses.result import Result

SHOWN = (10, 20, 50, 100, 200, 500)


def picture(*circuits: Circuit, ks: Sequence[int] = SHOWN, how: How = "top", by: By = "abs") -> Result:
    """The edges of circuits as graphs laid out by layer. Each edge has the smallest K at which it is in (`k`).

    `how` and `by` choose as in `select`, but keep dead ends: an edge that is in at K stays in at larger K.
    """
    edges = min(one.graph.n_edges for one in circuits)
    several, models = "s" * (len(circuits) > 1), " and ".join(one.about.model for one in circuits)
    ks = [k for k in ks if k <= edges] or [edges]
    return Result(
        name="circuit",
        table=pd.concat([_edges(one, ks, how, by) for one in circuits], ignore_index=True),
        title=f"The circuit{several} of {models} on {circuits[0].about.task}",
        caption="Each line is an edge of the circuit, from source to target, layers upward. "
        "Its width is |score|; blue helps the answer, vermilion hurts it. A node is as large as the sum of its edges.",
        drawing="circuit_graph",
        about={**facts_of(circuits[0]), **_shape(circuits[0]), "ks": ks},
    )


def importance(*circuits: Circuit, k: int | None = None, resamples: int = 1000, seed: int = 0) -> Result:
    """s(v) of every head and MLP: the sum of its edges' scores, over all of them or the strongest k.

    Intervals are over prompts (of circuits with `example_edges`), with the set of strongest edges fixed.
    """
    return Result(
        name="circuit_importance",
        table=pd.concat([_nodes(one, k, resamples, seed) for one in circuits], ignore_index=True),
        title=f"Node importance on {circuits[0].about.task}" + (f", strongest {k} edges" if k else ""),
        caption="The sum of the scores of a node's edges, in and out. Blue helps the answer, vermilion hurts it; "
        "colours go by the square root, since a few nodes have most of it. A dot: the interval excludes 0.",
        drawing="circuit_heatmap",
        about={**facts_of(circuits[0]), **_shape(circuits[0]), "k": k, "resamples": resamples, "seed": seed},
    )


def _edges(circuit: Circuit, ks: Sequence[int], how: How, by: By) -> pd.DataFrame:
    graph = circuit.graph
    entered = np.full(graph.shape, 0)
    for k in sorted(ks, reverse=True):
        entered[select(circuit, k, how=how, by=by, prune=False)] = k
    mask = entered > 0
    frame = graph.frame(mask).assign(score=circuit.scores[mask], k=entered[mask])
    frame.insert(0, "model", circuit.about.model)
    frame.insert(1, "task", circuit.about.task)
    order = np.lexsort((-np.abs(circuit.scores[mask]), entered[mask]))
    return frame.iloc[order].reset_index(drop=True)


def _nodes(circuit: Circuit, k: int | None, resamples: int, seed: int) -> pd.DataFrame:
    found = circuit.importance(k)
    figures: dict[str, Any] = {"estimate": found["score"], "low": np.nan, "high": np.nan, "n": circuit.n}
    if circuit.by_example is not None and circuit.n > 1:
        figures = statistics.mean(_by_example(circuit, k), count=resamples, seed=seed).columns()
    table = found.drop(columns="score").assign(**figures)
    table.insert(0, "model", circuit.about.model)
    table.insert(1, "task", circuit.about.task)
    return table.loc[table["kind"].isin(["head", "mlp"]), :].reset_index(drop=True)


def _by_example(circuit: Circuit, k: int | None) -> NDArray:
    """(examples × nodes), each node's sum over its incoming and outgoing edges."""
    graph = circuit.graph
    out, into = circuit.ends(graph.valid if k is None else circuit.mask(k))
    to_logits = np.array([one.kind == "logits" for one in graph.target_values])
    return np.column_stack([out + into @ graph.feeds, into[:, to_logits].sum(1)])


def _shape(circuit: Circuit) -> dict[str, int]:
    graph = circuit.graph
    return {"n_layers": graph.n_layers, "n_heads": graph.n_heads, "n_kv_heads": graph.n_kv_heads}
