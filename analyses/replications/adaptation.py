"""Claims about what adaptation gains and what it costs: decoding in fewer passes, and answers that are kept or lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses import statistics
from analyses.replications.written_answers import (
    Rule,
    Written,
    answers,
    as_autoregression,
    exact_difference,
    refuse_without,
    share,
    strides_to_try,
    task_label,
)
from analyses.result import Result
from probe.decoding import ORDERS, Sampler, Strides, writer_of
from probe.errors import ProbeError
from probe.models.model import Model
from probe.tasks.task import Task

THRESHOLDS = (0.5, 0.9)


def samplers(
    models: Mapping[str, Model],
    task: Task,
    n: int = 500,
    *,
    rules: Mapping[str, Sequence[Rule]] | None = None,
    reference: str = "ar",
    seed: int = 0,
    split: str = "test",
) -> Result:
    """Accuracy and forward passes of every model with each of its samplers (by the model's name), compared with a
    reference.

    A masked model writes in every order, in as many passes as tokens, half and a quarter as many, and one; and with two
    confidence thresholds. `p` is the exact McNemar test against the reference's answers.
    """
    refuse_without(reference, models)
    batch = task.examples(models[reference], n, seed=seed, split=split, fewer=True)
    length = batch.clean.shape[1] - int(batch.positions["completion"].min())
    _, known = answers(models[reference], task, batch, seed=seed)
    rows = []
    for name, model in models.items():
        for rule in (rules or {}).get(name) or _rules_of(model, length):
            written, right = answers(model, task, batch, rule, seed=seed)
            p = np.nan if name == reference else exact_difference(right, known)
            rows.append({"model": name, "task": batch.task, **_how(name, rule, written), **share(right), "p": p})
    table = pd.DataFrame(rows).assign(q=lambda found: statistics.adjusted(found["p"]), unit="share right")
    axes = {"x": "passes", "colour": "way", "facet": "task"}
    titles = {"x_title": "forward passes per answer", "y_title": "answers right"}
    return Result(
        "claim_samplers",
        table,
        f"Diffusion decoding against autoregression: {task_label(task)}",
        "Higher is right more often, further left is fewer forward passes; bands are 95% Wilson intervals. q is the "
        f"exact McNemar test of each against {reference}, corrected for all of them.",
        "profile",
        {"axes": {**axes, **titles}, "reference": reference, "length": length, "seed": seed, "split": split},
    )


def _how(name: str, rule: Rule, written: Written) -> dict[str, Any]:
    """A point's sampler and number of passes; points of one `way` differ only in the number of passes."""
    way = name
    if isinstance(rule, Sampler) and (rule.threshold is not None or rule.steps is not None):
        way = f"{name}, {'threshold' if rule.threshold is not None else rule.order}"
    elif isinstance(rule, Strides):
        way = f"{name}, {'elastic' if rule.elastic else 'strides'}, {rule.checked}"
    passes = float(written.passes.mean())
    return {"way": way, "sampler": written.sampler, "passes": passes, "tokens_per_pass": written.tokens_per_pass}


def _rules_of(model: Model, length: int) -> list[Rule]:
    """The samplers to compare for a paradigm, for answers of a length."""
    if writer_of(model).in_strides:
        return list(strides_to_try(model))
    if not writer_of(model).free_steps:
        return [None]
    steps = sorted({max(1, length // part) for part in (1, 2, 4, length)}, reverse=True)
    orders: list[Rule] = [Sampler(order, steps=passes) for order in ORDERS for passes in steps]
    return orders + [Sampler(threshold=threshold) for threshold in THRESHOLDS]


def survival(
    ar: Model,
    adapted: Mapping[str, Model],
    task: Task,
    n: int = 500,
    *,
    reference: str = "masked",
    seed: int = 0,
    split: str = "test",
) -> Result:
    """Of the questions that the AR twin answers right, the share that each adapted model still does.

    Each writes in its own way, and again as an autoregressive model (causal attention, left to right), which shows how
    much of the AR model's ability the weights keep. `p` is the exact McNemar test against `reference`, the
    bidirectionally adapted one, writing in the same way. The models should have been trained for equal steps.
    """
    refuse_without(reference, adapted)
    batch = task.examples(ar, n, seed=seed, split=split, fewer=True)
    _, known = answers(ar, task, batch, seed=seed)
    if not known.any():
        raise ProbeError(
            f"survival on the task {task.name!r}",
            expected="questions that the AR twin answers right",
            found=f"none of {len(batch)}",
            remedy="Use an easier task.",
        )
    right = {
        (name, manner): answers(writer, task, batch, seed=seed)[1][known]
        for name, model in adapted.items()
        for manner, writer in (("its own way", model), ("as autoregression", as_autoregression(model)))
    }
    rows = [
        {"model": name, "task": batch.task, "manner": manner, **share(of), "p": _p(right, name, reference, manner)}
        for (name, manner), of in right.items()
    ]
    table = pd.DataFrame(rows).assign(q=lambda found: statistics.adjusted(found["p"]), unit="share kept")
    return Result(
        "claim_survival",
        table,
        f"AR twin's right answers that are kept: {task_label(task)}",
        "Each bar is the share of the AR twin's right answers that the adapted model gets right too, with its 95% "
        f"Wilson interval. q is the exact McNemar test against {reference} writing in the same way.",
        "bars",
        {
            "axes": {"x": "model", "colour": "manner", "facet": "task", "y_title": "of the AR twin's right answers"},
            "accuracy_ar": float(known.mean()),
            "reference": reference,
            "seed": seed,
            "split": split,
        },
    )


def _p(right: Mapping[tuple[str, str], NDArray], name: str, reference: str, manner: str) -> float:
    if name == reference:
        return np.nan
    return exact_difference(right[name, manner], right[reference, manner])
