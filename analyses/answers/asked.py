"""The answers to one batch under several readings, and with several sets of edits in the model.

    answers.asked(pair, batch, ["prefix", "one_mask"]).table
    answers.asked(pair, batch, edits={"as it is": [], "without 1.2": [probe.zero("head_out", layer=1, head=2)]})

A model's answer depends on the tokens that it sees, so a share of right answers means nothing without its reading; and
the role of a component shows in what is lost without it. Each row is one model under one reading and one set of edits,
with three measures: the share `right`, the `margin` (the right answer's logit minus the distractor's) and the `nats` of
the right answer, −log p. A row costs one forward pass. AR models have one reading, `ar`, and appear once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

import pandas as pd
import torch
from torch import Tensor

from analyses.result import Result
from analyses.statistics.per_example import PerExample
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading, answers, comparable, named
from probe.readings.by_role import roles
from probe.tasks import Batch
from probe.tracing import edit
from probe.tracing.edits import Edit, Skip

MEASURES = ("right", "margin", "nats")
_WHOLE: Mapping[str, Sequence[Edit | Skip]] = {"": ()}


def asked(
    models: Model | Pair,
    batch: Batch,
    readings: Iterable[str | Reading] = ("prefix",),
    *,
    edits: Mapping[str, Sequence[Edit | Skip]] | None = None,
    controls: bool = False,
    square: bool = False,
) -> Result:
    """Each model's answers under each reading and each named set of edits; every model gets the same edits.

    controls   also a pair's controls
    square     also the two other cells of a pair's 2×2 of weights and attention
    """
    vocabulary = models.vocabulary if isinstance(models, Pair) else None
    left_out = set(models.controls) if isinstance(models, Pair) and not controls else set()
    parts, seen = [], set()
    for reading in map(named, readings):
        for role, (model, how) in roles(models, reading, square=square).items():
            called = _called(how)
            if role in left_out or (role, called) in seen:
                continue
            seen.add((role, called))
            for name, changes in (edits or _WHOLE).items():
                with edit(model, changes):
                    found = figures(model, batch, how, vocabulary)
                labels = {"model": model.name, "role": role, "task": batch.task, "reading": called, "edit": name}
                parts.append(found.table(labels))
    table = pd.concat(parts, ignore_index=True)
    several = table.groupby("role")[["reading", "edit"]].nunique().max() > 1  # models with several readings
    rows = [name for name in ("reading", "edit") if bool(several[name])] or ["role"]
    return Result(
        "asked",
        table,
        f"Answers, {batch.task}",
        "Right: the share of questions whose most likely answer is right. Margin: the logit of the right answer minus "
        "the distractor's. Nats: −log p of the right answer.",
        "forest",
        {"axes": {"rows": rows, "facet": "measure", "colour": "role"}},
    )


def _called(reading: Reading) -> str:
    """A reading's name, with the options that are not at their defaults."""
    usual = named(reading.name)
    knobs = {one.name: getattr(reading, one.name) for one in fields(reading)}
    turned = [f"{name}={value}" for name, value in knobs.items() if value != getattr(usual, name)]
    return f"{reading.name}({', '.join(turned)})" if turned else reading.name


@torch.no_grad()
def figures(model: Model, batch: Batch, reading: Reading, vocabulary: int | None = None) -> PerExample:
    """Each example's `MEASURES`, averaged over draws and steps."""
    prompts = reading.ask(model, batch)
    logits = answers(model, prompts, then=lambda found: comparable(found, model, vocabulary)).cpu()
    of = prompts.view.example.cpu()
    best = (logits.argmax(-1)[:, None] == batch.choices.cpu()) & batch.right.cpu()[of]
    target, distractor = (_at(logits, which.cpu()[of]) for which in (batch.target, batch.distractor))
    nats = -_at(logits.log_softmax(-1), batch.target.cpu()[of])
    values = torch.stack([best.any(1).float(), target - distractor, nats], 1)
    return PerExample.from_questions(values, of, len(batch), measure=MEASURES)


def _at(values: Tensor, tokens: Tensor) -> Tensor:
    return values.gather(1, tokens[:, None])[:, 0]
