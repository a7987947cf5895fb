"""Metrics: one number per row that says how well the model answers. Higher is better in all of them.

    logit_difference        the target's logit minus the distractor's
    probability_difference  the probability of right choices minus that of wrong ones
    kl                      minus KL(clean answer ‖ this answer): how well the clean distribution is kept. At the clean
                            run its gradient is 0, so plain EAP finds nothing with it

One of your own is any function of logits (rows × vocabulary, float32, the mask excluded) and of a `Truth`, which holds
each row's right answers and the model's clean logits:

    def rank(logits, truth): return -(logits > logits.gather(1, truth.target[:, None])).sum(1).float()
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from analyses.circuits.attribution.prompts import Truth
from probe.errors import ProbeError, nearest

Metric = Callable[[Tensor, Truth], Tensor]


def logit_difference(logits: Tensor, truth: Truth) -> Tensor:
    pair = torch.stack([truth.target, truth.distractor], dim=1)
    return logits.gather(1, pair) @ logits.new_tensor([1.0, -1.0])


def probability_difference(logits: Tensor, truth: Truth) -> Tensor:
    sign = truth.right.to(logits.dtype) - truth.wrong.to(logits.dtype)
    return (logits.softmax(-1)[:, truth.choices] * sign).sum(1)


def kl(logits: Tensor, truth: Truth) -> Tensor:
    assert truth.clean is not None  # the clean run comes first
    known, found = truth.clean.log_softmax(-1), logits.log_softmax(-1)
    return -(known.exp() * (known - found)).sum(1)


METRICS: dict[str, Metric] = {
    "logit_difference": logit_difference,
    "probability_difference": probability_difference,
    "kl": kl,
}
_OF_TASK = {"greater_than": "probability_difference"}  # many answers are right, and many are wrong


def metric_of(metric: str | Metric | None, task: str) -> tuple[str, Metric]:
    """A metric and its name; None is the task's own."""
    if metric is not None and not isinstance(metric, str):
        return getattr(metric, "__name__", type(metric).__name__), metric
    name = metric or _OF_TASK.get(task, "logit_difference")
    if name not in METRICS:
        raise ProbeError(
            f"metric {name!r}",
            expected="a function, or one of " + ", ".join(METRICS),
            found=repr(name),
            remedy=nearest(name, METRICS),
        )
    return name, METRICS[name]
