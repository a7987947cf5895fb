"""Circuits that run alone on the examples of a task: what each example's metric is then.

    alone = run_alone(model, batch, circuit.graph, masks)    # masks: circuits × sources × targets
    alone.circuits, alone.whole, alone.nothing               # examples × circuits, examples, examples

Everything outside of a circuit is patched (see `patching`). Circuits and examples share passes, as many at a time as
fit. What is said of an example follows the reading's rule, as attribution does.
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
from analyses.circuits.attribution.exact_patching import alone_values
from analyses.circuits.attribution.gradients import Attribution
from analyses.circuits.attribution.metrics import Metric, metric_of
from analyses.circuits.attribution.position_roles import roles_of
from analyses.circuits.attribution.prompts import Questions
from analyses.circuits.graph import Graph
from probe.readings import Reading, named

if TYPE_CHECKING:
    from probe.batch import Batch
    from probe.models.model import Model


@dataclass(frozen=True, eq=False)
class Alone:
    """The metric of each example: of circuits that run alone, of the whole model, and with everything patched."""

    circuits: NDArray  # (examples, circuits)
    whole: NDArray  # (examples)
    nothing: NDArray  # (examples)

    def faithfulness(self, weights: NDArray) -> NDArray:
        """f of every circuit (resamples, circuits), for weights of the examples (resamples, examples)."""
        nothing = (weights @ self.nothing)[:, None]
        return (weights @ self.circuits - nothing) / ((weights @ self.whole)[:, None] - nothing)


def run_alone(
    model: Model,
    batch: Batch,
    graph: Graph,
    kept: NDArray,
    *,
    reading: str | Reading = "prefix",
    metric: str | Metric | None = None,
    ablation: str = "corrupt",
    seed: int = 0,
    rows: int | None = None,
) -> Alone:
    """Circuits (masks, circuits × sources × targets) of a model, each run alone on the batch."""
    questions = Questions.of(model, batch, named(reading))
    fit = rows or rows_that_fit(model.device, bytes_a_patched_row(model, questions.slots))
    work = Attribution(
        model=model,
        questions=questions,
        graph=graph,
        metric=metric_of(metric, batch.task)[1],
        ablation=Ablation(questions, ablation, seed),
        steps=1,
        roles=roles_of(questions, batch, graph.roles),
        at_once=fit,
    )
    masks = torch.as_tensor(np.concatenate([np.zeros((1, *graph.shape), dtype=bool), kept]))
    values = np.zeros((questions.examples, 1 + len(masks)))

    def metrics(chunk: slice) -> NDArray:
        with torch.no_grad():
            found = work.compared(chunk, change=False)
            patched = [alone_values(work, found, chunk, some) for some in masks.split(work.copies(chunk))]
            return torch.cat([found.clean[None], *patched]).T.cpu().numpy()

    for chunk, found in in_chunks(len(questions), min(fit, len(questions)), metrics):
        np.add.at(values, questions.example[chunk].numpy(), found * questions.weight[chunk].numpy()[:, None])
    return Alone(circuits=values[:, 2:], whole=values[:, 0], nothing=values[:, 1])
