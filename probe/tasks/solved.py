"""Pools: the examples that both twins answer, and how they were selected.

A circuit is only worth comparing on questions that both models solve; but selecting flatters both, so a pool carries
the share that was selected and each model's accuracy before any selection, with its interval.

When is an example solved? Toy twins write the right token: it is the best of the whole vocabulary. A real model of
English that is asked for "are" may rather write "that", although it clearly prefers "are" to "is". So there are two
criteria: "top" (the best token of all is a right one; `solved=True`) and "over_distractor" (the right token is above
the distractor), which is what a logit difference measures.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from probe.accuracy import Accuracy
from probe.batch import Batch
from probe.errors import TaskError
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings.by_role import reading_for
from probe.readings.reading import Prompts, Reading, answers, comparable
from probe.readings.trajectory import aggregated


class Source(Protocol):
    """What examples are drawn from: a task."""

    name: str

    def examples(self, tokenizer: Any, n: int, *, seed: int = 0, split: str = "test", fewer: bool = False) -> Batch: ...


Criterion = Literal["top", "over_distractor"]
MOST_TRIED = 20  # times n, before a pool gives up


def pool(
    task: Source,
    models: Model | Pair,
    n: int,
    *,
    reading: Reading,
    seed: int = 0,
    split: str = "test",
    criterion: Criterion = "top",
) -> Batch:
    """`n` examples that every twin answers right: the diffusion model under `reading`, the AR model under `ar`."""
    asked = _asked(models, reading)
    vocabulary = min(model.vocabulary for model, _ in asked.values())
    solved = {name: torch.zeros(0, dtype=torch.bool) for name in asked}
    tried = 2 * n
    while True:
        batch = task.examples(models, tried, seed=seed, split=split, fewer=True)
        fresh = batch[len(solved[next(iter(asked))]) :]
        for name, (model, how) in asked.items():
            solved[name] = torch.cat([solved[name], right(model, fresh, how, vocabulary, criterion)])
        both = torch.stack(list(solved.values())).all(0)
        if int(both.sum()) >= n or len(batch) < tried or tried >= MOST_TRIED * n:
            break
        tried = min(2 * tried, MOST_TRIED * n)
    accuracy = {name: Accuracy(int(of.sum()), len(of)) for name, of in solved.items()}
    chosen = both.nonzero()[:, 0][:n]
    if len(chosen) < n:
        found = f"{len(chosen)} among {len(both)}; " + "; ".join(f"{name} {of}" for name, of in accuracy.items())
        found += _all_there_are(task, split, len(batch) < tried)
        raise TaskError(
            f"a pool of {n} {split} examples of {task.name!r} for {models.name or models!r}",
            expected=f"examples that {' and '.join(asked)} answer right under {reading}",
            found=found,
            remedy=(
                f"Ask for {len(chosen)} or fewer, or choose an easier task or reading"
                if len(chosen)
                else "Choose a task that they have learnt"
            )
            + ", or take examples unselected: task.batch(…, solved=False).",
        )
    return replace(batch[chosen], selection_rate=both.float().mean().item(), accuracy=accuracy, reading=str(reading))


def _all_there_are(task: Source, split: str, exhausted: bool) -> str:
    """That the examples which were tried are all of them, and why there are no more."""
    if not exhausted:
        return ""
    why = getattr(task, "why_few", lambda split: "")(split)
    return f"; these are {why or f'all of the split {split!r}'}"


def _asked(models: Model | Pair, reading: Reading) -> dict[str, tuple[Model, Reading]]:
    if isinstance(models, Pair):
        twins = {"ar": models.ar, "diffusion": models.diffusion}
        return {role: (model, reading_for(model, reading, runs=False)) for role, model in twins.items()}
    return {models.name: (models, reading_for(models, reading, runs=False))}


def right(
    model: Model, batch: Batch, reading: Reading, vocabulary: int | None = None, criterion: Criterion = "top"
) -> Tensor:
    """Whether each example is answered right. "top": the best token of the shared vocabulary, masks apart, is a right
    one. "over_distractor": the right token is above the distractor.

    Over draws or steps, an example counts as solved when more than half of what its rule keeps is answered right.
    """
    asked = reading.ask(model, batch)
    is_right = (_above if criterion == "over_distractor" else _on_top)(model, batch, asked, vocabulary)
    return aggregated(is_right.float(), asked.view, reading.rule) > 0.5


@torch.no_grad()
def _on_top(model: Model, batch: Batch, asked: Prompts, vocabulary: int | None) -> Tensor:
    best = answers(model, asked, then=lambda logits: comparable(logits, model, vocabulary).argmax(-1)).cpu()
    return ((best[:, None] == batch.choices.cpu()) & batch.right.cpu()[asked.view.example]).any(1)


@torch.no_grad()
def _above(model: Model, batch: Batch, asked: Prompts, vocabulary: int | None) -> Tensor:
    two = torch.stack([batch.target, batch.distractor], 1).cpu()
    tokens, where = two.unique(return_inverse=True)
    found = answers(model, asked, then=lambda logits: comparable(logits, model, vocabulary)[..., tokens]).cpu()
    target, distractor = found.gather(1, where[asked.view.example]).unbind(1)
    return target > distractor
