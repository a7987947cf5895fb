"""How well a model writes: whole answers to questions it has not seen, by its own sampler, right or wrong.

A reading asks for one token, with the truth to its left. Here a model writes everything itself, as a user would see it
write, and the task's checker judges the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from probe.accuracy import Accuracy
from probe.decoding.decode import decode

if TYPE_CHECKING:
    from probe.decoding.writer import Asked
    from probe.models.model import Model
    from probe.tasks.task import Task

ROWS = 256  # texts written side by side


def score(
    model: Model,
    task: Task,
    n: int = 500,
    *,
    seed: int = 0,
    split: str = "test",
    sampler: Asked = None,
) -> Accuracy:
    """How many of `n` held-out questions (or all there are) the model answers right."""
    batch = task.examples(model, n, seed=seed, split=split, fewer=True)
    completion = batch.positions["completion"]
    start, length = int(completion.min()), batch.clean.shape[1]
    runs = (
        decode(model, batch.clean[at : at + ROWS, :start], length - start, sampler=sampler)
        for at in range(0, len(batch), ROWS)
    )
    written = torch.cat([run.tokens.cpu() for run in runs]).gather(1, completion)
    return Accuracy(int(task.check(batch, written).sum()), len(batch))
