"""Options of an attribution besides its reading, method and number of steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from analyses.circuits.attribution.metrics import Metric


@dataclass(frozen=True)
class AttributionOptions:
    """How `attribute` scores edges.

        attribute(model, batch, options=AttributionOptions(example_edges=True, directions=True))

    Every option has a default that suits a first look. Each says what it costs.
    """

    metric: str | Metric | None = None
    """The metric: a name in `METRICS`, or a function of your own. None is the task's own metric."""

    ablation: str = "corrupt"
    """What replaces the output of an ablated source: "corrupt", "zero", "mean" or "resample" (see `ablation`)."""

    points: str = "1..m"
    """The k of the m points at which gradients are taken, k / m of the way from the corrupt to the clean run: "1..m",
    as in EAP-IG's paper, includes the clean run; "0..m-1", as in its published code since February 2025, includes the
    corrupt one. The two rank edges similarly, but not equally. "eap" always uses the clean run."""

    position_roles: bool | Iterable[str] = False
    """Split each edge by the position of its target. True takes all positions that the task names, a list some of them.
    The matrix of scores grows by a factor of the number of roles."""

    directions: bool = False
    """Split keys and values by the query that reads them: one at the same position or later, or an earlier one. Two
    circuits can be compared only if both have this option, or neither. It costs a second copy of keys and values."""

    neurons: bool = False
    """Score the neurons of each MLP as nodes of their own."""

    experts: bool = False
    """Score the experts of each mixture as nodes of their own (`m3.e17`): an expert's output where the router chose it,
    and 0 elsewhere. Edges stay those of the whole MLP. It costs a pass of the experts for each choice."""

    example_edges: bool = False
    """Keep the edge scores of every example. Intervals over prompts need them: `compare`, `diff`, `importance`, `mass`.
    They take 4 bytes for each example, source and target."""

    seed: int = 0
    """Seed for the partners of the ablation "resample"."""

    rows: int | None = None
    """Rows per forward pass; None is as many as fit in memory. Scores do not depend on it."""

    folder: str | Path | None = None
    """Where finished rows are kept. After an interruption the same call with the same folder resumes from there."""
