"""In a run: what a model writes with edits at some steps, and how sure it was at the pass that wrote the answer.

An edit of some steps means something only while the model writes: a change at the first step can alter every token that
later steps see. So the run is decoded under the edits, each at its own step, and its passes are listened to for the
logits of the answer. Without edits it is the model's own run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from analyses.statistics.per_example import PerExample
from probe.batch import Batch
from probe.decoding import PassOptions, Trajectory
from probe.models.model import Model
from probe.paradigms.canvas import Canvas
from probe.readings.trajectory import TrajectoryReading, view_of
from probe.tracing import edit
from probe.tracing.edits import Edit, Skip
from probe.tracing.selection import ABSENT, slots_at

MEASURES = ("margin", "right", "written at")


@dataclass(frozen=True, eq=False)
class Run:
    """A decoding run of some prompts, and `MEASURES` of each one's answer."""

    trajectory: Trajectory
    answers: PerExample

    def differs(self, other: Run, batch: Batch) -> np.ndarray:
        """Whether each prompt's text, as far as it was asked for, is another than in another run."""
        places = batch.positions["completion"].cpu()
        one, two = (run.trajectory.tokens.cpu().gather(1, places) for run in (self, other))
        return (one != two).any(1).numpy()


def run(model: Model, batch: Batch, reading: TrajectoryReading, edits: Sequence[Edit | Skip] = ()) -> Run:
    """The model's own decoding of the batch under edits, and what became of the answers."""
    answer = batch.positions["answer"].cpu()
    still_open = batch.clean.cpu()
    if model.mask_id is not None:
        still_open = still_open.scatter(1, answer, model.mask_id)
    place, two = model.paradigm.read_at(still_open, answer), torch.stack([batch.target, batch.distractor], 1)
    heard: list[Tensor] = []

    def forward(canvas: Canvas) -> Tensor:
        logits = model.run(canvas)
        slots = slots_at(canvas, place).to(logits.device)
        rows = torch.arange(len(slots), device=logits.device)[:, None]
        here = logits[rows, slots.clamp(min=0), two.to(logits.device)].float()
        heard.append(here.masked_fill(slots == ABSENT, torch.nan).cpu())
        return logits

    with edit(model, edits):
        found = reading.run(model, batch, passes=PassOptions(forward=forward))
    asked = view_of(found, model, batch)
    last = torch.zeros(len(batch), dtype=torch.long).scatter_reduce(0, asked.example, asked.step, "amax")
    decisive = torch.stack(heard, 1)[torch.arange(len(batch)), last]
    margin = decisive[:, 0] - decisive[:, 1]
    written = found.tokens.cpu().gather(1, answer)
    right = ((written == batch.choices.cpu()) & batch.right.cpu()).any(1)
    at = found.committed_at.cpu().gather(1, answer)[:, 0]
    values = torch.stack([margin, right.float(), at.float()], 1)
    return Run(found, PerExample.of(values.numpy(), measure=MEASURES))


def of_side(batch: Batch, which: str) -> Batch:
    """The batch whose clean prompts are the clean or the corrupt ones: a run begins from its own prompt."""
    return batch if which == "clean" else replace(batch, clean=batch.corrupt)
