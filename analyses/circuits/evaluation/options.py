"""Options of running circuits, besides the reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analyses.circuits.attribution.metrics import METRICS, Metric
from analyses.circuits.circuit import By, Circuit
from analyses.circuits.selection import How


@dataclass(frozen=True)
class EvaluationOptions:
    """How `faithfulness` and `cross` run circuits.

        faithfulness(model, batch, circuit, options=EvaluationOptions(shares=(0.01, 0.1, 1.0), draws=10))

    One row of a pass is one prompt in one circuit, so the cost is prompts × shares × (1 + the random circuits).
    """

    shares: Sequence[float] | None = None
    """The sizes of circuits, as shares of all edges, in rising order. None is the function's own list."""

    how: How = "top"
    """How the edges are chosen: "top" takes the strongest, "greedy" grows from the logits (see `selection`)."""

    by: By = "abs"
    """What makes an edge strong: the size of its score ("abs"), or how much it helps the answer ("signed")."""

    draws: int = 3
    """How many random circuits are run for each size and kind. A circuit is compared with their mean."""

    metric: str | Metric | None = None
    """The metric. None is the one that the circuit was attributed with."""

    ablation: str | None = None
    """What replaces an edge outside of the circuit. None is the ablation that the circuit was attributed with."""

    seed: int = 0
    """Seed for the random circuits, the partners of the ablation "resample", and the resamples."""

    rows: int | None = None
    """Rows per forward pass; None is as many as fit in memory."""

    resamples: int | None = None
    """Resamples of the examples behind each interval. None is 10,000 for `faithfulness` and 2,000 for `cross`."""

    def metric_for(self, circuit: Circuit) -> str | Metric | None:
        """The metric to run a circuit with; None (the task's own) if the circuit's was a function."""
        return self.metric or (circuit.about.metric if circuit.about.metric in METRICS else None)

    def ablation_for(self, circuit: Circuit) -> str:
        return self.ablation or circuit.about.ablation
