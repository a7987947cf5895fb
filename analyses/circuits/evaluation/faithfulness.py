"""Faithfulness: does the circuit alone do what the model does?

    f(C) = (M(C) - M(∅)) / (M(G) - M(∅))

M(G) is the metric of the whole model, M(C) that of the circuit with everything outside of it patched (`patching`),
M(∅) with everything patched. f is followed over circuits of more and more edges, and summed up as in MIB: CPR, the area
under the curve (higher is better), and CMD, the area between it and 1 (lower is better), both over the share of edges.

Nothing is said without the same curve of circuits that hold as many edges drawn at random: from anywhere, and between
the same layers and kinds of node. Intervals resample examples; a random circuit's figure is the mean over its draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses import statistics
from analyses.circuits.attribution.metrics import METRICS, Metric, metric_of
from analyses.circuits.circuit import By, Circuit
from analyses.circuits.evaluation.isolated_run import Alone, run_alone
from analyses.circuits.graph import Graph
from analyses.circuits.selection import How, layer_matched, select, uniform
from analyses.result import Result
from probe.errors import ProbeError
from probe.readings import Reading, named

if TYPE_CHECKING:
    from probe.batch import Batch
    from probe.models.model import Model

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
OWN, RANDOM, MATCHED = "attributed", "random", "random, layer-matched"


def faithfulness(
    model: Model,
    batch: Batch,
    circuit: Circuit,
    *,
    reading: str | Reading = "prefix",
    shares: Sequence[float] = SHARES,
    how: How = "top",
    by: By = "abs",
    draws: int = 3,
    metric: str | Metric | None = None,
    ablation: str | None = None,
    seed: int = 0,
    rows: int | None = None,
    **resampling: Any,
) -> Result:
    """The faithfulness curve of a circuit on a batch, its CPR and CMD, beside those of random circuits.

    The circuit may be another model's (of one shape). `draws` is how many random circuits stand for each kind; metric
    and ablation are the circuit's own unless said. What is left goes to the bootstrap (`count`, `kind`, `level`).
    """
    sizes = _sizes(circuit.graph, shares)
    own = circuit.about.metric if circuit.about.metric in METRICS else None
    how_asked = {"metric": metric or own, "ablation": ablation or circuit.about.ablation, "seed": seed, "rows": rows}
    masks, kinds = _masks(circuit, sizes, how, by, draws, seed)
    every = masks.reshape(-1, *circuit.graph.shape)
    alone = run_alone(model, batch, circuit.graph, every, reading=reading, **how_asked)
    _refuse_no_difference(model, batch, alone)
    tables = []
    for kind in dict.fromkeys(kinds):
        chosen = np.flatnonzero(np.repeat(np.array(kinds) == kind, len(sizes)))
        drawn = alone.circuits[:, chosen].reshape(len(alone.whole), -1, len(sizes))
        curve = replace(alone, circuits=drawn.mean(1))
        tables.append(_table(curve, np.array(shares), sizes, seed, resampling).assign(circuit=kind))
    about = {
        "reading": str(named(reading)),
        "metric": metric_of(how_asked["metric"], batch.task)[0],
        "ablation": how_asked["ablation"],
        "circuit": circuit.about.as_dict(),
        "selection": f"{how}, {by}",
        "draws": draws,
        "seed": seed,
        "whole": float(alone.whole.mean()),
        "nothing": float(alone.nothing.mean()),
    }
    table = pd.concat(tables, ignore_index=True).assign(model=model.name, task=batch.task, unit="share of M(G) - M(∅)")
    front = ["model", "task", "circuit", "measure", "share", "edges"]
    return Result(
        name="faithfulness",
        table=table.loc[:, [*front, *(name for name in table if name not in front)]],
        title=f"Faithfulness of {circuit.about.model}'s circuit in {model.name} on {batch.task}",
        caption="A curve near 1 at a small share of edges: so few of them do what the whole model does. It says "
        "something only where it stands above the curves of random circuits with as many edges.",
        drawing="faithfulness",
        about=about,
    )


def at_sizes(
    model: Model,
    batch: Batch,
    circuit: Circuit,
    ks: Sequence[int],
    *,
    reading: str | Reading = "prefix",
    seed: int = 0,
    rows: int | None = None,
    resamples: int = 400,
) -> pd.DataFrame:
    """f of a circuit's strongest k edges, for each k: rows that stand in the table of an overlap (`compare`).

    Circuits may agree on edges that do nothing by themselves, so no overlap is shown without them.
    """
    masks = np.stack([circuit.mask(k) for k in ks])
    own = circuit.about.metric if circuit.about.metric in METRICS else None
    how = {"metric": own, "ablation": circuit.about.ablation, "seed": seed, "rows": rows}
    alone = run_alone(model, batch, circuit.graph, masks, reading=reading, **how)
    found = statistics.bootstrap(alone.faithfulness, len(alone.whole), count=resamples, seed=seed, kind="percentile")
    edges = circuit.graph.n_edges
    where = {"model": circuit.about.model, "other": circuit.about.model, "task": batch.task, "subset": "all"}
    sizes = {"edges": edges, "k": list(ks), "share": np.array(ks) / edges, "measure": "f"}
    return pd.DataFrame({**where, **sizes, **found.columns()})


def _sizes(graph: Graph, shares: Sequence[float]) -> NDArray[np.int_]:
    if not shares or min(shares) <= 0 or max(shares) > 1 or list(shares) != sorted(shares):
        raise ProbeError(
            "shares",
            expected="shares of the edges from above 0 to 1, in order",
            found=str(tuple(shares)),
            remedy="The default is MIB's.",
        )
    return np.maximum(1, np.round(np.array(shares) * graph.n_edges)).astype(int)


def _masks(circuit: Circuit, sizes: NDArray, how: How, by: By, draws: int, seed: int) -> tuple[NDArray, list[str]]:
    """(curves, sizes, sources, targets), and what kind each curve is."""
    graph = circuit.graph
    own = np.stack([select(circuit, int(k), how=how, by=by, prune=False) for k in sizes])
    drawn = np.stack([uniform(graph, int(k), draws, seed=seed) for k in sizes], axis=1)
    matched = np.stack([layer_matched(graph, mask, draws, seed=seed) for mask in own], axis=1)
    return np.concatenate([own[None], drawn, matched]), [OWN, *[RANDOM] * draws, *[MATCHED] * draws]


def _table(curve: Alone, shares: NDArray, sizes: NDArray, seed: int, resampling: dict[str, Any]) -> pd.DataFrame:
    """f at each share, then CPR and CMD, each with its interval."""

    def figures(weights: NDArray) -> NDArray:
        f = curve.faithfulness(weights)
        cpr, cmd = np.trapezoid(f, shares, axis=1), np.trapezoid(np.abs(1 - f), shares, axis=1)
        return np.column_stack([f, cpr, cmd])

    found = statistics.bootstrap(figures, len(curve.whole), seed=seed, **resampling)
    names = {
        "measure": ["f"] * len(shares) + ["CPR", "CMD"],
        "share": [*shares, np.nan, np.nan],
        "edges": pd.array([*sizes, None, None], dtype="Int64"),
    }
    return pd.DataFrame({**names, **found.columns()})


def _refuse_no_difference(model: Model, batch: Batch, alone: Alone) -> None:
    whole, nothing = alone.whole.mean(), alone.nothing.mean()
    if abs(whole - nothing) < 1e-6 * max(1.0, abs(whole)):
        raise ProbeError(
            f"faithfulness of {model.name!r} on {batch.task!r}",
            expected="a metric that differs between the whole model and one with everything patched",
            found=f"{whole:.3g} and {nothing:.3g}",
            remedy="Choose examples that the model solves, or another metric.",
        )
