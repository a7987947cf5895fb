"""The claims of FLM and FMLM, at the size of the twins at hand.

    few_steps      answers right in 1, 2, 4, 8 steps: flow maps, flows, the discrete twin; held to what needs no steps
    frontier       on text: the NLL of samples under the AR model against their unigram entropy, never the first alone
    distillation   what a lesson of each target costs, against one of a flow

`few_steps` also serves the claims that lay one flow beside another (the three distillations, cross-entropy and squared
error, with and without the clock, from the AR weights and from nothing): name the models and the one they are held to.

Two baselines say what a flow must beat to have learnt anything of a text as a whole. "unigram" draws every token from
the frequencies of the answers, "factorised" from its own distribution given the prompt (the discrete twin's, from one
pass with everything masked): the best that a text of independent tokens can be.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from analyses import statistics
from analyses.claims.writing import ROWS, Rule, answers, as_autoregression, exact_difference, share, write
from analyses.result import Result
from probe.decoding import Flowing, Sampler
from probe.errors import ProbeError, nearest
from probe.models.model import Model
from probe.models.time_embedding import TimeEmbedding
from probe.paradigms import Flow, FlowMap, Masked
from probe.paradigms.flow_map import TARGETS
from probe.tasks import Batch
from probe.tasks.task import Task

STEPS = (1, 2, 4, 8)
UNIGRAM, FACTORISED, TEXT = "unigram", "factorised", "text itself"


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
    """The share of answers that each model writes right in so many steps.

    All models write the same examples. `ahead` is the model's share less the reference's in as many steps, paired by
    example, with its interval; `p` the exact McNemar test of the same.
    """
    if reference not in models:
        raise ProbeError(
            "reference", expected="one of the models", found=repr(reference), remedy=nearest(reference, models)
        )
    batch = task.examples(models[reference], n, seed=seed, split=split, fewer=True)
    right = {
        (name, count): answers(model, task, batch, _in_steps(model, count), seed=seed)[1]
        for name, model in models.items()
        for count in steps
    }
    right |= {(UNIGRAM, 1): _unigram(task, batch, seed)}
    masked = next((model for model in models.values() if isinstance(model.paradigm, Masked)), None)
    if masked is not None:
        drawn = Sampler("confidence", steps=1, temperature=1.0)
        right[FACTORISED, 1] = answers(masked, task, batch, drawn, seed=seed)[1]
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
        "Up is right more often; bands are 95% Wilson intervals. A flow must beat the two points at one step, texts of "
        f"independent tokens. `ahead` and q (exact McNemar, corrected) hold each to {reference} in as many steps.",
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


def _in_steps(model: Model, steps: int) -> Rule:
    return Flowing(steps) if isinstance(model.paradigm, Flow) else Sampler("confidence", steps=steps)


def _unigram(task: Task, batch: Batch, seed: int) -> NDArray:
    """Whether answers are right whose every token is drawn from the frequencies of all of them."""
    known = batch.written()
    generator = torch.Generator().manual_seed(seed)
    drawn = known.flatten()[torch.randint(known.numel(), known.shape, generator=generator)]
    return task.check(batch, drawn).numpy()


def _ahead(right: NDArray, other: NDArray, same: bool) -> dict[str, Any]:
    if same:
        return dict.fromkeys(("ahead", "ahead_low", "ahead_high", "p"), np.nan)
    found = statistics.mean(right.astype(float) - other.astype(float)).row()
    names = {"ahead": "estimate", "ahead_low": "low", "ahead_high": "high"}
    return {name: found[column] for name, column in names.items()} | {"p": exact_difference(right, other)}


def frontier(
    models: Mapping[str, Model],
    judge: Model,
    texts: Tensor,
    *,
    given: int = 8,
    steps: Sequence[int] = STEPS,
    seed: int = 0,
) -> Result:
    """How likely an AR model finds what each model writes, and how varied that is.

    `texts` (n × length) are held-out: their first `given` tokens are the prompts, and they themselves, scored alike,
    say where real text lies. Every model draws: a masked one its tokens, a flow its noise, an AR model left to right.
    """
    length, rows = texts.shape[1] - given, []
    prompts = texts[:, :given]
    for name, model in models.items():
        for count in steps if not model.paradigm.in_order else (length,):
            tokens = write(model, prompts, length, _drawing(model, count), seed=seed).tokens
            rows.append({"model": name, "steps": count, **_scored(judge, tokens, given)})
    rows.append({"model": TEXT, "steps": 0, **_scored(judge, texts, given)})
    rows.append({"model": UNIGRAM, "steps": 1, **_scored(judge, _shuffled(texts, given, seed), given)})
    return Result(
        "claim_frontier",
        pd.DataFrame(rows).assign(unit="nats a token"),
        "What the flows write: likelihood and variety",
        "Down is what the AR model finds likelier, right is more varied; text that repeats itself is likely and of low "
        "entropy, so only what lies below AND not left of another is better. Bands: 95% bootstrap over texts.",
        "profile",
        {
            "axes": {
                "x": "entropy",
                "colour": "model",
                "x_title": "unigram entropy of a text (nats)",
                "y_title": "NLL under the AR model (nats a token)",
            },
            "judge": judge.name,
            "given": given,
            "seed": seed,
        },
    )


def _drawing(model: Model, steps: int) -> Rule:
    if isinstance(model.paradigm, Flow):
        return Flowing(steps)
    return Sampler(temperature=1.0) if model.paradigm.in_order else Sampler("random", steps=steps, temperature=1.0)


def _scored(judge: Model, tokens: Tensor, given: int) -> dict[str, Any]:
    """The mean NLL of what stands behind the prompts, and its mean entropy, each with its interval."""
    likely = statistics.mean(_nll(judge, tokens, given)).row()
    varied = statistics.mean(_entropy(tokens[:, given:])).row()
    return {**likely, "entropy": varied["estimate"], "entropy_low": varied["low"], "entropy_high": varied["high"]}


@torch.no_grad()
def _nll(judge: Model, tokens: Tensor, given: int) -> NDArray:
    """The mean NLL (n) of the tokens behind the first `given`."""
    asked, found = as_autoregression(judge), []
    for part in tokens.split(ROWS):
        logits = asked.logits(part)[:, given - 1 : -1].float()
        if judge.mask_id is not None:
            logits[..., judge.mask_id] = -torch.inf
        truth = part[:, given:].to(logits.device)
        found.append(torch.nn.functional.cross_entropy(logits.transpose(1, 2), truth, reduction="none").mean(1).cpu())
    return torch.cat(found).double().numpy()


def _entropy(tokens: Tensor) -> NDArray:
    """The entropy (n) of each text's own frequencies of tokens."""
    same = (tokens[:, :, None] == tokens[:, None, :]).double().mean(2)  # the frequency of the token at each place
    return same.log().neg().mean(1).cpu().numpy()


def _shuffled(texts: Tensor, given: int, seed: int) -> Tensor:
    """Behind each prompt, tokens drawn from the frequencies of all texts."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(texts), texts.shape[1] - given)
    drawn = texts.flatten()[torch.randint(texts.numel(), shape, generator=generator)]
    return torch.cat([texts[:, :given], drawn], 1)


def distillation(flow: Model, texts: Tensor, *, repeats: int = 10, seed: int = 0) -> Result:
    """The time that a lesson of each target takes, in lessons of the flow itself, by the clock of this machine.

    The map learns from the flow as its frozen teacher. Lessons take turns, so that a slow moment is everyone's.
    """
    paradigms = {"flow": flow.paradigm} | {
        target: FlowMap(mask_id=flow.mask_id, target=target, teacher=flow, clock=_clock(flow)) for target in TARGETS
    }
    taken = np.empty((repeats, len(paradigms)))
    with _pupil(flow) as pupil:
        for turn in range(-1, repeats):  # the first turn only warms up
            for column, paradigm in enumerate(paradigms.values()):
                pupil.paradigm = paradigm
                seconds = _seconds(pupil, texts, seed + turn + 1)
                if turn >= 0:
                    taken[turn, column] = seconds
    rows = [
        {"model": name, **statistics.ratio(own, taken[:, 0]).row(), "seconds": float(own.mean())}
        for name, own in zip(paradigms, taken.T, strict=True)
    ]
    return Result(
        "claim_distillation_cost",
        pd.DataFrame(rows).assign(task=f"{len(texts)} × {texts.shape[1]} tokens", unit="lessons of the flow"),
        "What a lesson of each distillation costs",
        "Time of a lesson, forwards and backwards, in lessons of the undistilled flow; 95% bootstrap over lessons.",
        "bars",
        {"axes": {"x": "model", "y_title": "lessons of the flow"}, "device": str(flow.device), "seed": seed},
    )


def _clock(flow: Model) -> str:
    if isinstance(flow.paradigm, Flow):
        return flow.paradigm.clock
    raise ProbeError(
        f"model {flow.name!r}", expected="a flow", found=f"a {flow.paradigm.name} model", remedy="Pass zoo:flow."
    )


@contextmanager
def _pupil(flow: Model) -> Iterator[Model]:
    """A copy of the flow with a map's second time, to be taught; the flow itself is left as it is."""
    import copy

    pupil = Model(copy.deepcopy(flow.backbone), flow.paradigm, name=f"a pupil of {flow.name}")
    pupil.attachments = {name: copy.deepcopy(module) for name, module in flow.attachments.items()}
    pupil.attachments.setdefault("until", TimeEmbedding.beside(flow).to(flow.device, flow.dtype))
    with pupil.trainable():
        yield pupil


def _seconds(pupil: Model, texts: Tensor, seed: int) -> float:
    """How long one lesson takes."""
    paradigm = pupil.paradigm
    lesson = paradigm.lesson(texts.cpu(), torch.Generator().manual_seed(seed)).to(pupil.device)
    began = time.perf_counter()
    paradigm.loss(pupil, lesson).backward()
    if pupil.device.type == "cuda":
        torch.cuda.synchronize()
    taken = time.perf_counter() - began
    pupil.backbone.zero_grad(set_to_none=True)
    return taken
