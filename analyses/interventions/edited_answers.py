"""Effect: the margin and the share answered right, with and without edits, paired over prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from analyses import statistics
from analyses.result import Result
from probe.batch import Batch
from probe.models.model import Model
from probe.readings import Reading
from probe.readings.by_role import reading_for
from probe.tracing import edit
from probe.tracing.edits import Edit, Skip

WHEN = ("before", "after", "after − before")


def effect(model: Model, batch: Batch, edits: Sequence[Edit | Skip], *, reading: str | Reading = "prefix") -> Result:
    """The margin (the answer's logit less the distractor's) and the share answered right, with and without edits."""
    how = reading_for(model, reading)
    before = _answers(model, batch, how)
    with edit(model, edits):
        after = _answers(model, batch, how)
    rows = [
        {"measure": measure, "when": when, "model": model.name, "task": batch.task, **_mean(values)}
        for measure, one, two in zip(("margin", "answered right"), before, after, strict=True)
        for when, values in zip(WHEN, (one, two, two - one), strict=True)
    ]
    return Result(
        name="intervention",
        table=pd.DataFrame(rows),
        title=f"What the change does to {model.name} on {batch.task}",
        caption="The margin is the answer's logit less the distractor's; answered right is the share of prompts whose "
        "best token is a right one. The difference is paired over the same prompts.",
        drawing="forest",
        about={"axes": {"rows": ["when"], "facet": "measure"}, "edits": [str(one) for one in edits]},
    )


def _answers(model: Model, batch: Batch, reading: Reading) -> tuple[NDArray, NDArray]:
    """By prompt: the margin, and whether the best token can be continued to a right answer."""
    logits = reading.logits(model, batch).cpu()
    rows = torch.arange(len(batch))
    margin = logits[rows, batch.target.cpu()] - logits[rows, batch.distractor.cpu()]
    best = logits.argmax(-1)
    right = (batch.right.cpu() & (batch.choices.cpu()[None] == best[:, None])).any(1)
    return margin.double().numpy(), right.double().numpy()


def _mean(values: NDArray) -> dict[str, Any]:
    """A mean with its 95% interval: that number itself where all prompts say the same; none for one prompt."""
    if len(values) == 1:
        return {"estimate": float(values[0]), "low": np.nan, "high": np.nan, "n": 1}
    if np.ptp(values) == 0:
        only = float(values.mean())
        return {"estimate": only, "low": only, "high": only, "n": len(values)}
    found = statistics.mean(values[:, None]).columns()
    return {name: float(np.ravel(found[name])[0]) for name in ("estimate", "low", "high")} | {"n": len(values)}
