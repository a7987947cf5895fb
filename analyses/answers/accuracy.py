"""The share of questions that each model answers right, before any of them is selected.

An answer is right if the best token of the shared vocabulary, masks apart, is a right one; in a pool that was selected
by `over_distractor`, if the right token is above the distractor. The null is the accuracy of a guess among the choices,
or one half. Intervals are Wilson's, over questions. A table costs one forward pass per model; if a pool of solved
questions was drawn, the passes that drew it are reused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from analyses.result import Result
from probe.accuracy import Accuracy
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading
from probe.readings.by_role import reading_for
from probe.readings.reading import answers, comparable
from probe.tasks import Batch
from probe.tasks.show import Token, show
from probe.tasks.solved import Criterion, right

if TYPE_CHECKING:
    from probe.tasks import Task


def accuracy(pair: Pair, task: Task, n: int = 200, *, reading: str | Reading = "prefix", seed: int = 0) -> Result:
    """How often each model of a pair answers right, on `n` unselected questions of a task."""
    return of_pool(pair, task, task.examples(pair, n, seed=seed, fewer=True), reading=reading)


def of_pool(
    pair: Pair, task: Task, batch: Batch, *, reading: str | Reading = "prefix", criterion: Criterion = "top"
) -> Result:
    """The same for a batch, on the questions from which it was selected; the first selected one is the example.
    `criterion` is the one by which they were: what counts as right must be the same for twins and controls."""
    tried = max((one.tried for one in batch.accuracy.values()), default=len(batch))
    questions = task.examples(pair, tried, seed=batch.seed, split=batch.split, fewer=True)
    known: Mapping[str, Accuracy] = batch.accuracy
    guess = task.guess(questions) if criterion == "top" else 0.5
    rows = []
    for role, model in pair.models.items():
        found = known.get(role)
        if found is None:
            how = reading_for(model, reading, runs=False)
            solved = right(model, questions, how, pair.vocabulary, criterion)
            found = Accuracy(int(solved.sum()), len(solved))
        low, high = found.interval
        figures = {"estimate": found.share, "low": low, "high": high, "n": found.tried, "null": guess}
        rows.append({"model": model.name, "role": role, "task": batch.task, "scope": batch.scope, **figures})
    axes = {"rows": ["model"], "x_title": "share answered right"}
    return Result(
        "answers",
        pd.DataFrame(rows),
        f"How often each model answers right, {batch.task}",
        "The share of questions that each model answers right, before any were selected. The null is the accuracy of "
        f"a guess among the choices.{_said_of(criterion)}",
        "forest",
        {"axes": axes, "reading": str(reading), "example": _example(pair, batch, reading)},
    )


def _said_of(criterion: Criterion) -> str:
    """What the caption says of an answer that is right."""
    if criterion == "top":
        return ""
    return " Right is an answer whose right token is above the distractor, whatever is above both; a guess is one half."


def _example(pair: Pair, batch: Batch, reading: str | Reading) -> dict[str, Any]:
    """The first question of a batch, token by token, and each model's answer to its clean and its corrupt prompt."""
    first = batch[:1]
    (shown,) = show(first, pair.tokenizer, 1)
    said = [
        {"model": model.name, "role": role, **{which: _answer(pair, model, first, reading, which) for which in WHICH}}
        for role, model in pair.models.items()
    ]
    prompts = {"clean": [_plain(token) for token in shown.clean], "corrupt": [_plain(token) for token in shown.corrupt]}
    rightly = {"right": {"clean": shown.target, "corrupt": shown.distractor}, "several": _several(first)}
    return {"task": batch.task, **prompts, **rightly, "said": said}


def _several(first: Batch) -> bool:
    """Whether more than one answer is right, so that the one shown is an example."""
    return int(first.right.sum()) > 1


WHICH = ("clean", "corrupt")


@torch.no_grad()
def _answer(pair: Pair, model: Model, first: Batch, reading: str | Reading, which: str) -> dict[str, Any]:
    """The best token, its probability, and whether it is right (None if not known: a batch names only one of a corrupt
    prompt's several right answers)."""
    asked = reading_for(model, reading, runs=False).ask(model, first, which)
    shares = answers(model, asked, then=lambda logits: comparable(logits, model, pair.vocabulary).softmax(-1)).mean(0)
    best = int(shares.argmax())
    if which == "clean":
        is_right = bool(((first.choices == best) & first.right[0]).any())
    else:
        is_right = best == int(first.distractor[0]) or (None if _several(first) else False)
    return {"token": str(pair.tokenizer.decode([best])).strip() or "␣", "p": float(shares[best]), "right": is_right}


def _plain(token: Token) -> dict[str, Any]:
    return {"text": token.text, "changed": token.changed, "masked": token.masked, "asked": token.asked}
