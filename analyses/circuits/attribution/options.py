"""What can be chosen about an attribution, beside its reading, method and number of steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from analyses.circuits.attribution.metrics import Metric


@dataclass(frozen=True)
class AttributionOptions:
    """How `attribute` scores edges.

        attribute(model, batch, options=AttributionOptions(example_edges=True, directions=True))

    Every option has a default that suits a first look. What each of them costs is said with it.
    """

    metric: str | Metric | None = None
    """What is measured of an answer: a name in `METRICS`, or a function of your own. None is the task's own metric."""

    ablation: str = "corrupt"
    """What a source writes when it is taken out: "corrupt", "zero", "mean" or "resample" (see `ablation`)."""

    points: str = "1..m"
    """Which m points of the path from the corrupt to the clean run gradients are taken at, k / m of the way: "1..m", as
    EAP-IG's paper writes, with the clean run among them, or "0..m-1", as its published code has done since February
    2025, with the corrupt run among them. The two rank edges alike, not the same. "eap" is the clean run in either."""

    position_roles: bool | Iterable[str] = False
    """Split each edge by the position at which it is read. True takes all positions that the task names, a list some.
    The matrix of scores grows by as many times as there are roles."""

    directions: bool = False
    """Split keys and values by the query that looks at them: from the same place or a later one, or from an earlier
    one. Two circuits can be compared only if both have it, or neither. It costs a second copy of keys and values."""

    neurons: bool = False
    """Score the neurons of each MLP as nodes of their own."""

    experts: bool = False
    """Score the experts of each mixture as nodes of their own (`m3.e17`): what an expert writes where the router chose
    it, and nothing elsewhere. Edges stay those of the whole MLP. It costs a pass of the experts for each choice."""

    example_edges: bool = False
    """Keep the edge scores of every example. Intervals over prompts need them: `compare`, `diff`, `importance`, `mass`.
    They take 4 bytes for each example, source and target."""

    seed: int = 0
    """Draws the partners of the ablation "resample"."""

    rows: int | None = None
    """How many rows go through the model at a time; None is as many as fit in memory. Scores do not depend on it."""

    folder: str | Path | None = None
    """Where finished rows are kept. The same call with the same folder goes on from there after an interruption."""
