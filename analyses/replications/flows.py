"""The claims of FLM and FMLM (flow language models and their maps), at the size of the shipped twins.

    few_steps   answers right in 1, 2, 4, 8 steps: flow maps, flows, the discrete twin; against independent tokens
    beyond      how much a flow gains over independent tokens, and its map in one step over the flow in one

`few_steps` also serves the claims that compare flows with each other (the three distillations; from the AR weights and
from random ones): name the models and the reference.

Two baselines say what a flow must beat to have learnt anything of a text as a whole. "unigram" draws every token from
the frequencies of the answers, "factorised" from its own distribution given the prompt (the discrete twin's, from one
pass with everything masked): the best that a text of independent tokens can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from analyses import statistics
from analyses.replications.written_answers import (
    answers,
    exact_difference,
    refuse_without,
    share,
)
from analyses.result import Result
from probe.decoding import Sampler, writer_of
from probe.models.model import Model
from probe.paradigms import Masked
from probe.tasks import Batch
from probe.tasks.task import Task

STEPS = (1, 2, 4, 8)
UNIGRAM, FACTORISED = "unigram", "factorised"


def few_steps(
    models: Mapping[str, Model],
    task: Task,
    n: int = 500,
    *,
    reference: str,
    steps: Sequence[int] = STEPS,
    seed: int = 0,
    split: str = "test",
) -> Result:
    """The share of answers that each model writes right, by its number of steps.

    All models write the same examples. `ahead` is the model's share minus the reference's in equally many steps, paired
    by example, with its interval; `p` is the exact McNemar test of the same.
    """
    refuse_without(reference, models)
    batch = task.examples(models[reference], n, seed=seed, split=split, fewer=True)
    right = {
        (name, count): answers(model, task, batch, writer_of(model).in_steps(model, count), seed=seed)[1]
        for name, model in models.items()
        for count in steps
    }
    right |= {(UNIGRAM, 1): _unigram(task, batch, seed)}
    masked = next((model for model in models.values() if isinstance(model.paradigm, Masked)), None)
    if masked is not None:
        right[FACTORISED, 1] = _factorised(masked, task, batch, seed)
    rows = [
        {"model": name, "task": batch.task, "steps": count, **share(found)}
        | _ahead(found, right[reference, count], name == reference)
        for (name, count), found in right.items()
    ]
    table = pd.DataFrame(rows).assign(unit="share right", q=lambda found: statistics.adjusted(found["p"]))
    return Result(
        "claim_few_steps",
        table,
        f"In few steps, or one: {task.name}",
        "Higher is right more often; bands are 95% Wilson intervals. A flow must beat the two points at one step, "
        f"texts of independent tokens. `ahead` and q (exact McNemar, corrected) compare each with {reference} in "
        "equally many steps.",
        "profile",
        {
            "axes": {
                "x": "steps",
                "colour": "model",
                "facet": "task",
                "x_title": "steps from noise (or masks) to text",
                "y_title": "answers right",
            },
            "reference": reference,
            "seed": seed,
            "split": split,
        },
    )


@dataclass(frozen=True)
class FlowModels:
    """A flow, the map that was distilled from it, and the masked twin whose independent tokens both must beat."""

    flow: Model
    flow_map: Model
    masked: Model


def beyond(
    models: FlowModels,
    task: Task,
    n: int = 500,
    *,
    steps: int = STEPS[-1],
    seed: int = 0,
    split: str = "test",
) -> Result:
    """How much more often a flow in several steps is right than texts of independent tokens, and its map in one step
    than the flow in one. All write the same examples; differences are paired, `p` is the exact McNemar test."""
    batch = task.examples(models.masked, n, seed=seed, split=split, fewer=True)

    def written(model: Model, count: int) -> NDArray:
        return answers(model, task, batch, writer_of(model).in_steps(model, count), seed=seed)[1]

    several, one, mapped = written(models.flow, steps), written(models.flow, 1), written(models.flow_map, 1)
    held = {
        f"flow, {steps} steps, over {UNIGRAM}": (several, _unigram(task, batch, seed)),
        f"flow, {steps} steps, over {FACTORISED}": (several, _factorised(models.masked, task, batch, seed)),
        "flow map, 1 step, over flow, 1 step": (mapped, one),
    }
    rows = [
        {"model": name, "task": batch.task, **_difference(ours, theirs), "right": ours.mean(), "other": theirs.mean()}
        for name, (ours, theirs) in held.items()
    ]
    table = pd.DataFrame(rows).assign(n=len(batch), unit="share right", q=lambda found: statistics.adjusted(found["p"]))
    return Result(
        "claim_beyond",
        table,
        f"Beyond independent tokens, and beyond the flow in one step: {task.name}",
        "How much more often the first is right than the second, with the 95% bootstrap interval over examples; q is "
        "the exact McNemar test, corrected. For an answer of one token, no text beats independent tokens.",
        "forest",
        {"axes": {"rows": ["model"], "x_title": "difference in answers right"}, "seed": seed, "split": split},
    )


def _difference(right: NDArray, other: NDArray) -> dict[str, float]:
    """The mean of paired differences with its interval, and the exact McNemar p."""
    found = statistics.mean(right.astype(float) - other.astype(float)).row()
    return {name: found[name] for name in ("estimate", "low", "high")} | {"p": exact_difference(right, other)}


def _factorised(masked: Model, task: Task, batch: Batch, seed: int) -> NDArray:
    """Whether answers are right if the discrete twin draws all tokens at once, each from its own distribution."""
    return answers(masked, task, batch, Sampler("confidence", steps=1, temperature=1.0), seed=seed)[1]


def _unigram(task: Task, batch: Batch, seed: int) -> NDArray:
    """Whether answers are right if every token is drawn from the answers' token frequencies."""
    known = batch.written()
    generator = torch.Generator().manual_seed(seed)
    drawn = known.flatten()[torch.randint(known.numel(), known.shape, generator=generator)]
    return task.check(batch, drawn).numpy()


def _ahead(right: NDArray, other: NDArray, same: bool) -> dict[str, Any]:
    if same:
        return dict.fromkeys(("ahead", "ahead_low", "ahead_high", "p"), np.nan)
    found = _difference(right, other)
    names = {"ahead": "estimate", "ahead_low": "low", "ahead_high": "high", "p": "p"}
    return {name: found[column] for name, column in names.items()}
