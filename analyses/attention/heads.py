"""What each head attends to, in both directions: one row per head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analyses.attention.watching import MEASURES, Watch, watched
from analyses.result import Result
from analyses.statistics import adjusted
from analyses.statistics.contrasts import DIFFERENCE
from analyses.statistics.per_example import PerExample
from probe.errors import AttentionError
from probe.models.model import Model
from probe.pairs import Pair
from probe.paradigms.canvas import Canvas
from probe.readings import Reading, TrajectoryReading
from probe.readings.by_role import roles
from probe.tasks import Batch

COLUMNS = ("previous", "next", "same", "induction", "reverse_induction", "sink", "entropy", "duplicate", "offset",
           "sink_place", "sink_masked")  # fmt: skip
SLOTS_AT_ONCE = 8192
RESAMPLES = 2000  # enough for a table of many heads; ten thousand would take longer and hardly change its intervals


def heads(
    models: Model | Pair,
    tokens: Tensor | Canvas | Batch,
    *,
    reading: str | Reading | None = None,
    attention: str | Tensor | None = None,
    padding: Tensor | None = None,
    square: bool = False,
    resamples: int = RESAMPLES,
) -> Result:
    """Where every head's attention goes, with an interval over texts for each score (`previous_low`, …).

    tokens      ids, a canvas, or a task's batch: its clean text as it is, or under a reading
    attention   another attention than the model's own: "causal", "full", "block:4", or a mask
    padding     True on padded tokens, which are left out
    square      also the two other cells of a pair's 2×2: each twin's weights under the other's mask
    resamples   of texts, for the intervals
    """
    task = tokens.task if isinstance(tokens, Batch) else ""
    made, names = {}, {}
    for role, (model, how) in roles(models, reading or "prefix", square=square).items():
        names[role] = model.name
        if isinstance(tokens, Batch) and reading is not None:
            made[role] = _through_reading(model, tokens, _under(how, attention))
        else:
            own = how.attention if square else None
            made[role] = per_head(model, _shown(model, tokens, own if attention is None else attention, padding))
    parts = [wide(of, resamples, model=names[role], role=role, task=task) for role, of in made.items()]
    # Heads correspond by name only in twins; a model trained from random weights gets no difference by head.
    alike = not isinstance(models, Pair) or models.twins
    for role in made if alike and "ar" in made else ():
        difference = made[role].minus(made["ar"]) if role != "ar" else None
        if difference is not None:
            model, against = names[role] + DIFFERENCE + names["ar"], role + DIFFERENCE + "ar"
            parts.append(wide(difference, resamples, p=True, model=model, role=against, task=task))
    return Result(
        "attention_heads",
        pd.concat(parts, ignore_index=True),
        "What each head attends to",
        "One cell per head: the share of its attention that goes to the token before, to the one after, and so on, "
        "averaged over the positions that have such a token. Induction: to what followed this token before; reverse "
        "induction: the same with the text read backwards. The sink is the most attended token of a text. Entropy "
        "is divided by the log of the number of visible tokens, of which a diffusion model has more.",
        "heads",
        {"measures": list(COLUMNS), "reading": None if reading is None else str(reading)},
    )


def per_head(model: Model, shown: Canvas) -> PerExample:
    """The scores of each text (row), layer, head and measure."""
    found = measured(model, shown)
    layers, heads = (range(size) for size in found.shape[1:3])
    return PerExample.of(found, layer=layers, head=heads, measure=COLUMNS)


@torch.no_grad()
def measured(model: Model, shown: Canvas) -> Tensor:
    """text × layer × head × COLUMNS, from running the model on `shown`."""
    size = max(1, SLOTS_AT_ONCE // shown.slots)
    with watched(model) as seen:
        for at in range(0, len(shown), size):
            model.run_trunk(shown[slice(at, at + size)], eager=True)
    return scored(seen)


def scored(seen: Watch) -> Tensor:
    """What was seen: text × layer × head × COLUMNS."""
    return torch.cat([each.scores for each in seen.passes])[..., [MEASURES.index(name) for name in COLUMNS]]


def _through_reading(model: Model, batch: Batch, reading: Reading) -> PerExample:
    """The scores of each example under a reading: averaged over draws, separate by step."""
    prompts = reading.ask(model, batch)
    found = measured(model, prompts.canvas)
    layers, heads = (range(size) for size in found.shape[1:3])
    step = prompts.view.step if isinstance(reading, TrajectoryReading) else None
    axes = {"layer": layers, "head": heads, "measure": COLUMNS}
    return PerExample.from_questions(found, prompts.view.example, len(batch), step=step, **axes)


def wide(found: PerExample, resamples: int, *, p: bool = False, **labels: str) -> pd.DataFrame:
    """One row per (step,) layer and head; for each measure a column with its low and high."""
    long = found.table(resamples=resamples, p=p)
    index = [axis for axis in found.axes if axis != "measure"]
    sides = ("low", "high", *(("p",) if p else ()))
    square = long.pivot(index=index, columns="measure", values=["estimate", *sides])
    parts = [square["estimate"][found.axes["measure"]], *(square[side].add_suffix(f"_{side}") for side in sides)]
    table = pd.concat(parts, axis=1).reset_index().rename_axis(columns=None)
    if p:
        of = [f"{name}_p" for name in found.axes["measure"]]
        table[[name[:-1] + "q" for name in of]] = adjusted(table[of].to_numpy())
    return table.assign(n=len(found), **labels)


def _under(reading: Reading, attention: str | Tensor | None) -> Reading:
    if isinstance(attention, Tensor):
        raise AttentionError(
            f"attention for the reading {reading}",
            expected="the name of an attention, since a reading makes its own canvas",
            found=f"a mask of shape {tuple(attention.shape)}",
            remedy="Name it ('causal', 'full', …), or pass the canvas in place of the batch.",
        )
    return reading if attention is None else replace(reading, attention=attention)


def _shown(
    model: Model, tokens: Tensor | Canvas | Batch, attention: str | Tensor | None, padding: Tensor | None
) -> Canvas:
    if isinstance(tokens, Canvas):
        return tokens
    return model.canvas(tokens.clean if isinstance(tokens, Batch) else tokens, attention, padding=padding)


def highest(result: Result, measure: str, *, role: str | None = None) -> pd.Series:
    """The head that scores highest on a measure."""
    table = result.table if role is None else result.table[result.table["role"] == role]
    return table.iloc[int(np.nanargmax(table[measure]))]
