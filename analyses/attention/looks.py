"""Attention from the answer's slot to each position that the task names, for every head.

    attention.looks(pair, batch).figure()     # layer × head, a panel per position and model

A task names positions by their role in the prompt (IOI: `indirect_object`, `subject`, `second_subject`, …). A head that
moves the answer attends to its position from the slot that predicts it, so its attention finds it before any ablation.
Attention does not prove that a head matters: compare with a knock-out. One forward pass per model.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import torch
from torch import Tensor

from analyses.result import Result
from analyses.statistics.per_example import PerExample
from probe.errors import ProbeError, nearest
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading
from probe.readings.by_role import roles
from probe.tasks import Batch
from probe.tracing import record

_OF_EVERY_TASK = ("answer", "completion", "corrupted")


def looks(
    models: Model | Pair,
    batch: Batch,
    places: Iterable[str] | None = None,
    *,
    reading: str | Reading = "prefix",
    controls: bool = False,
) -> Result:
    """The share of each head's attention that goes from the answer's slot to each named position, summed over its
    tokens.

    `places` are names of `batch.positions`; None takes all that the task names.
    """
    chosen = list(places or [name for name in batch.positions if name not in _OF_EVERY_TASK])
    for name in chosen:
        if name not in batch.positions:
            raise ProbeError(
                f"place {name!r} of {batch.task}",
                expected="one of " + ", ".join(batch.positions),
                found=repr(name),
                remedy=nearest(name, batch.positions),
            )
    left_out = set(models.controls) if isinstance(models, Pair) and not controls else set()
    parts = []
    for role, (model, how) in roles(models, reading).items():
        if role in left_out:
            continue
        found, examples = _looks(model, batch, how, chosen)
        layers, heads = (range(size) for size in found.shape[1:3])
        of = PerExample.from_questions(found, examples, len(batch), layer=layers, head=heads, place=chosen)
        parts.append(of.table({"model": model.name, "role": role, "task": batch.task}))
    table = pd.concat(parts, ignore_index=True)
    table["panel"] = table["role"] + " → " + table["place"].str.replace("_", " ")
    return Result(
        "attention_looks",
        table,
        f"Attention from the answer's slot, {batch.task}",
        "The share of a head's attention, from the slot that predicts the answer, that goes to the tokens of each "
        "named position. A head can attend to a position without moving information from it.",
        "heatmap",
        {"axes": {"facet": "panel", "z_title": "share"}, "reading": str(reading)},
    )


def _looks(model: Model, batch: Batch, reading: Reading, places: list[str]) -> tuple[Tensor, Tensor]:
    """question × layer × head × place, and the example of each question."""
    prompts = reading.ask(model, batch)
    trace = record(model, prompts.canvas, ["pattern"])
    pattern = torch.from_numpy(trace["pattern"].transpose("example", "layer", "head", "query", "key").to_numpy())
    rows = torch.arange(len(pattern))
    seen = pattern[rows, :, :, prompts.slots[:, 0].cpu()]
    of = prompts.view.example.cpu()
    return torch.stack([_summed(seen, batch.positions[name].cpu()[of]) for name in places], -1), of


def _summed(seen: Tensor, at: Tensor) -> Tensor:
    """Attention to a row's own positions, each counted once (rows are padded by repeating the last)."""
    there = torch.zeros(len(seen), seen.shape[-1]).scatter(1, at, 1.0)
    return torch.einsum("rlhk,rk->rlh", seen, there)
