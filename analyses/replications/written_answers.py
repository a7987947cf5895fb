"""Whole answers, written and checked: the data of every claim about decoding, one row per example.

The model gets the prompt and writes the rest with some sampler; the task's checker says whether that is right. All
models of a claim write for the same examples, so their answers can be compared in pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

import probe
from probe.accuracy import Accuracy
from probe.decoding import ELASTIC, Flowing, Sampler, Strides, Trajectory
from probe.errors import ProbeError, nearest
from probe.models.model import Model
from probe.paradigms import Autoregressive
from probe.tasks import Batch
from probe.tasks.task import Task

Rule = Sampler | Strides | Flowing | str | None
ROWS = 256  # texts written side by side
FIXED = (1, 2, 4, 8, 16)

_STRIDE = ("example", "start", "predicted", "proposed", "accepted", "passes")


@dataclass(frozen=True, eq=False)
class Written:
    """What a model wrote for n prompts, and its forward passes for each."""

    tokens: Tensor  # (n, position), prompt and answer
    passes: NDArray  # (n)
    length: int  # tokens written for each
    sampler: str
    strides: pd.DataFrame  # one row per stride; empty if there are none

    @property
    def tokens_per_pass(self) -> float:
        return self.length * len(self.passes) / self.passes.sum()


def write(model: Model, prompts: Tensor, length: int, rule: Rule = None, *, seed: int = 0) -> Written:
    """A model's continuations of prompts (n × k), with its own sampler unless another is given."""
    runs = [
        probe.decode(model, prompts[at : at + ROWS], length, sampler=rule, seed=seed)
        for at in range(0, len(prompts), ROWS)
    ]
    return Written(
        tokens=torch.cat([run.tokens.cpu() for run in runs]),
        passes=np.concatenate([run.passes.cpu().numpy() for run in runs]),
        length=length,
        sampler=runs[0].sampler,
        strides=pd.concat([_strides(run, ROWS * turn) for turn, run in enumerate(runs)], ignore_index=True),
    )


def _strides(run: Trajectory, before: int) -> pd.DataFrame:
    if run.strides is None:
        return pd.DataFrame({name: pd.Series(dtype=int) for name in _STRIDE})
    columns = {name: getattr(run.strides, name).cpu().numpy() for name in _STRIDE}
    return pd.DataFrame(columns).assign(example=lambda table: table["example"] + before)


def answers(model: Model, task: Task, batch: Batch, rule: Rule = None, *, seed: int = 0) -> tuple[Written, NDArray]:
    """A model's continuations for a batch, and which answers (n) are right."""
    completion = batch.positions["completion"]
    start, end = int(completion.min()), batch.clean.shape[1]
    written = write(model, batch.clean[:, :start], end - start, rule, seed=seed)
    return written, task.check(batch, written.tokens.gather(1, completion)).numpy()


def task_label(task: Task) -> str:
    """A task's name, with the options that are not at their defaults."""
    known = fields(task)  # type: ignore[arg-type]  # every task is a dataclass
    turned = [field for field in known if getattr(task, field.name) != field.default]
    knobs = ", ".join(f"{field.name} {getattr(task, field.name)}" for field in turned)
    return f"{task.name} ({knobs})" if knobs else task.name


def share(right: NDArray) -> dict[str, Any]:
    """The columns of a share of right answers, with its Wilson interval."""
    return share_of(right.mean(), len(right))


def share_of(right: float, n: int) -> dict[str, Any]:
    """The same of a share of n answers."""
    found = Accuracy(round(right * n), n)
    low, high = found.interval
    return {"estimate": found.share, "low": low, "high": high, "n": n}


def exact_difference(right: NDArray, other: NDArray) -> float:
    """The exact McNemar p: of the answers that only one of two models has right, does each have half?"""
    from scipy.stats import binomtest

    only_one, only_other = int((right & ~other).sum()), int((~right & other).sum())
    return float(binomtest(only_one, only_one + only_other).pvalue) if only_one + only_other else 1.0


def sums_per(table: pd.DataFrame, n: int, columns: Sequence[str]) -> dict[str, NDArray]:
    """The sum of some columns over each of n examples."""
    example = table["example"].to_numpy(dtype=np.int64)
    return {name: np.bincount(example, table[name].to_numpy(dtype=float), minlength=n) for name in columns}


def as_autoregression(model: Model) -> Model:
    """The same weights as an autoregressive model: causal attention, each slot predicts the next token."""
    return Model(model.backbone, Autoregressive(mask_id=model.mask_id), name=f"{model.name} as autoregression")


def strides_to_try(model: Model) -> list[Strides]:
    """Fixed strides of several lengths, and elastic ones if the model has learnt its horizon, without and with the
    published floor. Each is verified in the pass that drafts the next, in a pass of its own, or not at all."""
    kinds = [Strides(length) for length in FIXED]
    if "horizon" in model.attachments:
        kinds += [Strides(ELASTIC), Strides(ELASTIC, least=4)]
    ways: list[dict[str, bool]] = [{}, {"overlap": False}, {"verify": False}]
    return [replace(kind, **way) for kind in kinds for way in ways]


def refuse_without(reference: str, models: Mapping[str, Model]) -> None:
    """Refuse a reference that is not one of the models."""
    if reference not in models:
        raise ProbeError(
            f"reference {reference!r}",
            expected="the name of one of the models",
            found=", ".join(models) or "no models",
            remedy=nearest(reference, models),
        )
