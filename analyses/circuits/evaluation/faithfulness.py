"""Faithfulness: does the circuit alone do what the model does?

    f(C) = (M(C) - M(∅)) / (M(G) - M(∅))

M(G) is the metric of the whole model, M(C) that of the circuit with everything outside of it patched (module
`patching`), M(∅) with everything patched. f is measured for circuits of increasing size. Two numbers summarise the
curve, as in MIB: CPR, the area under it (higher is better), and CMD, the area between it and 1 (lower is better), both
over the share of edges.

A curve means something only in comparison with random circuits of the same size. Two kinds are run: edges drawn from
the whole graph, and edges drawn between the same layers and kinds of node. A random circuit's value is the mean over
its draws. Intervals resample examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses import statistics
from analyses.circuits.attribution.metrics import metric_of
from analyses.circuits.circuit import Circuit
from analyses.circuits.evaluation.isolated_run import Isolated, IsolatedRun, isolated_run
from analyses.circuits.evaluation.options import EvaluationOptions
from analyses.circuits.graph import Graph
from analyses.circuits.selection import layer_matched, select, uniform
from analyses.result import Result
from probe.errors import ProbeError
from probe.readings import Reading, named

if TYPE_CHECKING:
    from probe.batch import Batch
    from probe.models.model import Model

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
OWN, RANDOM, MATCHED = "attributed", "random", "random, layer-matched"
DEFAULTS = EvaluationOptions()


def faithfulness(
    model: Model,
    batch: Batch,
    circuit: Circuit,
    *,
    reading: str | Reading = "prefix",
    options: EvaluationOptions = DEFAULTS,
) -> Result:
    """The faithfulness curve of a circuit on a batch, its CPR and CMD, with those of random circuits.

    The circuit may be that of another model of the same shape.

    >>> circuit = analyses.circuits.attribute(pair.ar, batch, reading="ar", steps=2)
    >>> analyses.circuits.faithfulness(pair.ar, batch, circuit).name
    'faithfulness'
    """
    shares = np.array(_checked(SHARES if options.shares is None else options.shares))
    sizes = _sizes(circuit.graph, shares)
    masks, kinds = _masks(circuit, sizes, options)
    metric, ablation = options.metric_for(circuit), options.ablation_for(circuit)
    every = masks.reshape(-1, *circuit.graph.shape)
    isolated = Isolated(circuit.graph, every, metric, ablation, options.seed, options.rows)
    run = isolated_run(model, batch, isolated, reading=reading)
    _refuse_no_difference(model, batch, run)
    tables = []
    for kind in dict.fromkeys(kinds):
        chosen = np.flatnonzero(np.repeat(np.array(kinds) == kind, len(sizes)))
        drawn = run.circuits[:, chosen].reshape(len(run.whole), -1, len(sizes))
        table = _table(replace(run, circuits=drawn.mean(1)), shares, sizes, options)
        tables.append(table.assign(circuit=kind))
    about = {
        "reading": str(named(reading)),
        "metric": metric_of(metric, batch.task)[0],
        "ablation": ablation,
        "circuit": circuit.about.as_dict(),
        "selection": f"{options.how}, {options.by}",
        "draws": options.draws,
        "seed": options.seed,
        "whole": float(run.whole.mean()),
        "nothing": float(run.nothing.mean()),
    }
    table = pd.concat(tables, ignore_index=True).assign(model=model.name, task=batch.task, unit="share of M(G) - M(∅)")
    front = ["model", "task", "circuit", "measure", "share", "edges"]
    return Result(
        name="faithfulness",
        table=table.loc[:, [*front, *(name for name in table if name not in front)]],
        title=f"Faithfulness of {circuit.about.model}'s circuit in {model.name} on {batch.task}",
        caption="How much of the model's metric a circuit of this share of all edges keeps when it runs alone: 1 is "
        "all of it, 0 is none. A curve means something only where it lies above those of random circuits with as many "
        "edges.",
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
    options: EvaluationOptions = DEFAULTS,
) -> pd.DataFrame:
    """f of a circuit's strongest k edges, for each k, as rows for the table of an overlap (`compare`).

    Two circuits may agree on edges that do nothing by themselves, so an overlap is shown with f at the same k. Random
    circuits are not run. Intervals are from 400 resamples unless the options say otherwise.
    """
    masks = np.stack([circuit.mask(k) for k in ks])
    metric, ablation = options.metric_for(circuit), options.ablation_for(circuit)
    isolated = Isolated(circuit.graph, masks, metric, ablation, options.seed, options.rows)
    run = isolated_run(model, batch, isolated, reading=reading)
    count = options.resamples or 400
    found = statistics.bootstrap(run.faithfulness, len(run.whole), count=count, seed=options.seed, kind="percentile")
    edges = circuit.graph.n_edges
    where = {"model": circuit.about.model, "other": circuit.about.model, "task": batch.task, "subset": "all"}
    sizes = {"edges": edges, "k": list(ks), "share": np.array(ks) / edges, "measure": "f"}
    return pd.DataFrame({**where, **sizes, **found.columns()})


def _checked(shares: Sequence[float]) -> Sequence[float]:
    if not shares or min(shares) <= 0 or max(shares) > 1 or list(shares) != sorted(shares):
        raise ProbeError(
            "shares",
            expected="shares of the edges above 0, up to 1, in rising order",
            found=str(tuple(shares)),
            remedy="Leave them out to use MIB's.",
        )
    return shares


def _sizes(graph: Graph, shares: NDArray) -> NDArray[np.int_]:
    return np.maximum(1, np.round(shares * graph.n_edges)).astype(int)


def _masks(circuit: Circuit, sizes: NDArray, options: EvaluationOptions) -> tuple[NDArray, list[str]]:
    """(curves, sizes, sources, targets), and what kind each curve is."""
    graph, draws, seed = circuit.graph, options.draws, options.seed
    own = np.stack([select(circuit, int(k), how=options.how, by=options.by, prune=False) for k in sizes])
    drawn = np.stack([uniform(graph, int(k), draws, seed=seed) for k in sizes], axis=1)
    matched = np.stack([layer_matched(graph, mask, draws, seed=seed) for mask in own], axis=1)
    return np.concatenate([own[None], drawn, matched]), [OWN, *[RANDOM] * draws, *[MATCHED] * draws]


def _table(run: IsolatedRun, shares: NDArray, sizes: NDArray, options: EvaluationOptions) -> pd.DataFrame:
    """f at each share, then CPR and CMD, each with its interval."""

    def figures(weights: NDArray) -> NDArray:
        f = run.faithfulness(weights)
        cpr, cmd = np.trapezoid(f, shares, axis=1), np.trapezoid(np.abs(1 - f), shares, axis=1)
        return np.column_stack([f, cpr, cmd])

    count = options.resamples or statistics.RESAMPLES
    found = statistics.bootstrap(figures, len(run.whole), count=count, seed=options.seed)
    names = {
        "measure": ["f"] * len(shares) + ["CPR", "CMD"],
        "share": [*shares, np.nan, np.nan],
        "edges": pd.array([*sizes, None, None], dtype="Int64"),
    }
    return pd.DataFrame({**names, **found.columns()})


def _refuse_no_difference(model: Model, batch: Batch, run: IsolatedRun) -> None:
    whole, nothing = run.whole.mean(), run.nothing.mean()
    if abs(whole - nothing) < 1e-6 * max(1.0, abs(whole)):
        raise ProbeError(
            f"faithfulness of {model.name!r} on {batch.task!r}",
            expected="a metric that differs between the whole model and one with everything patched",
            found=f"{whole:.3g} and {nothing:.3g}",
            remedy="Choose examples that the model solves, or another metric.",
        )
