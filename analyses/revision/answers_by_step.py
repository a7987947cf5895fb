"""The answer at each point of a run: when it becomes final, and whether it was right before it was wrong.

A model that can revise tokens may change its answer after first writing it, and may lose a right one. For every
example, over the passes until it was done:

    right                 whether the answer after a tenth, two tenths, … of its passes is right; one with a mask is not
    slots revised         the share of its positions that were remasked or overwritten at least once
    token settles         the share of its passes after which the asked token keeps its final value (a whole answer
                          settles with its last position, which is uninformative)
    other whole answers   how many complete answers were replaced by another
    right, then wrong     whether the answer was right at some pass, and wrong in the end

An AR model settles each token when it writes it, and revises nothing; the others are compared with it. FLUID's rejected
drafts and a flow's intermediate guesses count as revisions. The cost is the run itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from analyses.result import Result
from analyses.statistics.contrasts import compared
from analyses.statistics.per_example import PerExample
from probe.decoding import Asked, Trajectory, decode
from probe.errors import TaskError
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings.still import written_span
from probe.tasks import Batch

if TYPE_CHECKING:
    from probe.tasks import Task

FIGURES = ("slots revised", "token settles", "other whole answers", "right, then wrong")
POINTS = tuple(tenth / 10 for tenth in range(1, 11))  # of a run, as shares of its passes
ROWS = 128  # texts written side by side


def by_step(models: Model | Pair, task: Task, batch: Batch, *, sampler: Asked = None, seed: int = 0) -> Result:
    """How each model's answers change during decoding. A model, or the diffusion twin of a pair and the models of its
    paradigm, uses `sampler` (None: its own); the others use their own."""
    by_role = {"model": models} if isinstance(models, Model) else models.models
    asked = type((models if isinstance(models, Model) else models.diffusion).paradigm)
    right, others, rules = {}, {}, {}
    for role, model in by_role.items():
        runs = _runs(model, batch, sampler if type(model.paradigm) is asked else None, seed)
        found = [figures(run, task, batch[rows]) for rows, run in runs]
        at_points, single = (np.concatenate(part) for part in zip(*found, strict=True))
        right[role] = PerExample.of(at_points, measure=["right"], at=POINTS)
        others[role] = PerExample.of(single, measure=FIGURES, at=[1.0])
        rules[role] = runs[0][1].sampler
    names = {role: model.name for role, model in by_role.items()}
    table = pd.concat([compared(made, names, batch.task) for made in (right, others)], ignore_index=True)
    return Result(
        "revision",
        table,
        f"Answers during decoding, {batch.task}",
        "Right: the share of answers that are right after this share of their passes. Slots revised: positions "
        "written more than once. Token settles: the share of passes after which the asked token stays. Other whole "
        "answers: how many complete answers were replaced. Right, then wrong: the share of answers that were right on "
        "the way and are not in the end.",
        "profile",
        {
            "axes": {"x": "at", "colour": "model", "facet": "measure", "x_title": "share of the passes"},
            "samplers": rules, "seed": seed,
        },
    )  # fmt: skip


def _runs(model: Model, batch: Batch, sampler: Asked, seed: int) -> list[tuple[slice, Trajectory]]:
    start, length = written_span(batch, "trajectory")
    if start + length != batch.clean.shape[1]:
        raise TaskError(
            f"revision on the task {batch.task!r}",
            expected="a completion that is the end of the text",
            found=f"{batch.clean.shape[1] - start - length} tokens after it",
            remedy="Take another task.",
        )
    chunks = [slice(at, at + ROWS) for at in range(0, len(batch), ROWS)]
    return [(rows, decode(model, batch.clean[rows, :start], length, sampler=sampler, seed=seed)) for rows in chunks]


def figures(run: Trajectory, task: Task, batch: Batch) -> tuple[NDArray, NDArray]:
    """For each example of a run over a batch: whether its answer is right at each of POINTS (n × 1 × points), and
    FIGURES (n × figures × 1)."""
    places = batch.positions["completion"].cpu()
    answers = _answers(run, places)
    whole = (answers >= 0).all(-1)
    rows, passes = torch.arange(len(batch)), _passes(run)
    last = passes - 1
    token = _answers(run, batch.positions["answer"].cpu())[..., 0]
    inside = torch.arange(answers.shape[1]) < passes[:, None]
    is_right = _right(task, batch, answers, whole & inside)
    tenths = torch.arange(1, len(POINTS) + 1)
    at = (passes[:, None] * tenths + len(POINTS) - 1) // len(POINTS) - 1
    differs = ((token != token[rows, last][:, None]) & inside).long()
    settled = token.shape[1] - differs.flip(1).argmax(1)  # passes up to the last one that left another token
    settled = torch.where(differs.any(1), settled, 0) + 1
    revised = run.withdrawals.any(1).cpu().gather(1, places)
    single = [
        revised.float().mean(1),
        settled.clamp(max=passes) / passes,
        _given_way(answers, whole & inside),
        (is_right.any(1) & ~is_right[rows, last]).float(),
    ]
    return is_right.gather(1, at).float()[:, None].numpy(), torch.stack(single, 1)[..., None].double().numpy()


def _passes(run: Trajectory) -> Tensor:
    """The passes (n) until each example was done: those it needed, or up to its last change if it waited for others of
    its batch."""
    changed = (run.commits | run.withdrawals).any(-1).cpu().long()
    last_change = changed.shape[1] - changed.flip(1).argmax(1)
    return torch.where(changed.any(1), last_change, 1).maximum(run.passes.cpu())


def _answers(run: Trajectory, places: Tensor) -> Tensor:
    """The tokens at each example's positions after each pass (n × step × k), below 0 if not written. Positions after
    the end of a text keep its final tokens."""
    stood = run.written_by_step.cpu()
    at = places[:, None].expand(-1, stood.shape[1], -1)
    return stood.gather(2, at)


def _right(task: Task, batch: Batch, answers: Tensor, asked: Tensor) -> Tensor:
    """Whether each selected answer (n × step) is right. An answer that did not change is not checked again."""
    found = torch.zeros_like(asked)
    for step in range(asked.shape[1]):
        same = (answers[:, step] == answers[:, step - 1]).all(-1) & asked[:, step - 1] if step else ~asked[:, step]
        found[:, step] = found[:, step - 1] & same if step else False
        rows = (asked[:, step] & ~same).nonzero()[:, 0]
        if len(rows):
            found[rows, step] = task.check(batch[rows], answers[rows, step]).cpu()
    return found


def _given_way(answers: Tensor, whole: Tensor) -> Tensor:
    """How many complete answers of each example were followed by another complete one."""
    count, before = torch.zeros(len(answers)), answers[:, 0].clone()
    had = torch.zeros(len(answers), dtype=torch.bool)
    for step in range(answers.shape[1]):
        now = whole[:, step]
        count += now & had & (answers[:, step] != before).any(-1)
        before = torch.where(now[:, None], answers[:, step], before)
        had = had | now
    return count
