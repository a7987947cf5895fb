"""Isolated runs: the metric of each example when a circuit runs alone, everything outside of it patched.

    run = isolated_run(model, batch, Isolated(circuit.graph, masks))    # masks: circuits × sources × targets
    run.circuits, run.whole, run.nothing                                # examples × circuits, examples, examples

Module `patching` says how the rest is patched. Circuits and examples share forward passes, as many as fit in memory. If
an example has several rows (draws of a mask, steps of a decoding run), the reading's rule combines them into one
number, as in attribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from analyses.circuits.attribution.ablation import Ablation
from analyses.circuits.attribution.batching import in_chunks, rows_that_fit
from analyses.circuits.attribution.cost import bytes_a_patched_row
from analyses.circuits.attribution.exact_patching import isolated_metric
from analyses.circuits.attribution.gradients import Attribution
from analyses.circuits.attribution.metrics import Metric, metric_of
from analyses.circuits.attribution.position_roles import position_roles_of
from analyses.circuits.attribution.prompts import PromptPairs
from analyses.circuits.graph import Graph
from analyses.statistics.finite import refuse_not_finite
from probe.readings import Reading, named

if TYPE_CHECKING:
    from probe.batch import Batch
    from probe.models.model import Model


@dataclass(frozen=True, eq=False)
class Isolated:
    """The circuits to run, and how everything outside of them is replaced.

    `kept` are masks of the graph's edges (circuits × sources × targets). `metric` None is the task's own. `seed` draws
    the partners of the ablation "resample". `rows` is how many rows share a pass; None is as many as fit.
    """

    graph: Graph
    kept: NDArray
    metric: str | Metric | None = None
    ablation: str = "corrupt"
    seed: int = 0
    rows: int | None = None


@dataclass(frozen=True, eq=False)
class IsolatedRun:
    """The metric of each example: for each circuit alone, for the whole model, and with everything patched."""

    circuits: NDArray  # (examples, circuits)
    whole: NDArray  # (examples)
    nothing: NDArray  # (examples)

    def faithfulness(self, weights: NDArray) -> NDArray:
        """f of every circuit (resamples, circuits), for weights of the examples (resamples, examples)."""
        nothing = (weights @ self.nothing)[:, None]
        return (weights @ self.circuits - nothing) / ((weights @ self.whole)[:, None] - nothing)


def isolated_run(model: Model, batch: Batch, isolated: Isolated, *, reading: str | Reading = "prefix") -> IsolatedRun:
    """Run each circuit alone on a batch."""
    prompts = PromptPairs.of(model, batch, named(reading))
    graph, fit = isolated.graph, isolated.rows or rows_that_fit(model.device, bytes_a_patched_row(model, prompts.slots))
    work = Attribution(
        model=model,
        prompts=prompts,
        graph=graph,
        metric=metric_of(isolated.metric, batch.task)[1],
        ablation=Ablation(prompts, isolated.ablation, isolated.seed),
        steps=1,
        position_roles=position_roles_of(prompts, batch, graph.position_roles),
        at_once=fit,
    )
    masks = torch.as_tensor(np.concatenate([np.zeros((1, *graph.shape), dtype=bool), isolated.kept]))
    values = np.zeros((prompts.examples, 1 + len(masks)))

    def metrics(chunk: slice) -> NDArray:
        with torch.no_grad():
            found = work.compared(chunk, change=False)
            patched = [isolated_metric(work, found, chunk, some) for some in masks.split(work.copies(chunk))]
            return torch.cat([found.clean[None], *patched]).T.cpu().numpy()

    what = f"the metric of {model.name!r} in isolated runs"
    names = ["the whole model", "nothing", *(f"circuit {number}" for number in range(len(isolated.kept)))]
    for chunk, found in in_chunks(len(prompts), min(fit, len(prompts)), metrics):
        refuse_not_finite(what, found, {"example": prompts.example[chunk].tolist(), "run": names})
        np.add.at(values, prompts.example[chunk].numpy(), found * prompts.weight[chunk].numpy()[:, None])
    return IsolatedRun(circuits=values[:, 2:], whole=values[:, 0], nothing=values[:, 1])
