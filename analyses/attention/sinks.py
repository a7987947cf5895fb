"""Sinks along a decoding run: how much attention the most attended token gets at each step, and its position.

A head with nothing to look for still has to put its attention somewhere. An AR model puts it on the first token, at
every step. A diffusion model's sink can move: it may be a mask, and move when that mask is written.
"""

from __future__ import annotations

import torch
from torch import Tensor

from analyses.attention.heads import SLOTS_AT_ONCE
from analyses.attention.watching import MEASURES as SCORES
from analyses.attention.watching import watched
from analyses.result import Result
from analyses.statistics import RESAMPLES
from analyses.statistics.per_example import PerExample
from probe.decoding import Trajectory
from probe.models.model import Model
from probe.tracing.runs import replay

MEASURES = {"sink": "mass", "sink_place": "place", "sink_masked": "share on a mask"}
MOVED = "share that moved"


def sinks(model: Model, run: Trajectory, *, by_head: bool = False, resamples: int = RESAMPLES) -> Result:
    """For each step and layer (and head): the sink's mass, its position, how often it is a mask, how often it moved."""
    found = _by_step(model, run)
    measures = [*MEASURES.values(), MOVED]
    if by_head:
        layers, heads = (range(size) for size in found.shape[2:4])
        axes = {"layer": layers, "head": heads}
    else:
        found = found.mean(3)
        axes = {"layer": range(found.shape[2])}
    made = PerExample.of(found, step=range(found.shape[1]), **axes, measure=measures)
    table = made.table({"model": model.name}, resamples=resamples)
    return Result(
        "attention_sinks",
        table,
        f"Sinks along a decoding run, {model.name}",
        "One line per layer, the mean of its heads. Mass: the share of all attention that the most attended token "
        "gets. Place: that token's position. Share that moved: how often it is another token than a step before.",
        "sinks",
        {"sampler": run.sampler, "seed": run.seed, "measures": measures},
    )


@torch.no_grad()
def _by_step(model: Model, run: Trajectory) -> Tensor:
    """example × step × layer × head × (mass, place, on a mask, moved)."""
    again = replay(run, None, None)
    at_once = max(1, SLOTS_AT_ONCE // again.slots)
    pieces = []
    for start in range(0, again.examples, at_once):
        with watched(model) as seen:
            rows = slice(start, min(start + at_once, again.examples))
            again.play(model, rows, lambda canvas, _: model.run_trunk(canvas, eager=True))
        pieces.append(torch.stack([each.scores for each in seen.passes], 1))
    found = torch.cat(pieces)[..., [SCORES.index(name) for name in MEASURES]]
    place = found[..., list(MEASURES).index("sink_place")]
    moved = torch.cat([torch.full_like(place[:, :1], torch.nan), (place.diff(dim=1) != 0).float()], 1)
    return torch.cat([found, moved[..., None]], -1)
