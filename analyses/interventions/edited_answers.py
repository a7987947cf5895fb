"""Effect: the margin and the share answered right, with and without edits, paired over prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses import statistics
from analyses.answers.asked import figures
from analyses.result import Result
from analyses.statistics.per_example import PerExample
from probe.batch import Batch
from probe.models.model import Model
from probe.readings import Reading
from probe.readings.by_role import reading_for
from probe.tracing import edit
from probe.tracing.edits import Edit, Skip

WHEN = ("before", "after", "after − before")


def effect(model: Model, batch: Batch, edits: Sequence[Edit | Skip], *, reading: str | Reading = "prefix") -> Result:
    """The margin (the answer's logit minus the distractor's) and the share answered right, with and without edits."""
    how = reading_for(model, reading)
    before = figures(model, batch, how)
    with edit(model, edits):
        after = figures(model, batch, how)
    rows = [
        {"measure": name, "when": when, "model": model.name, "task": batch.task, **_mean(values)}
        for measure, name in (("margin", "margin"), ("right", "answered right"))
        for when, values in zip(WHEN, _paired(before, after, measure), strict=True)
    ]
    return Result(
        name="intervention",
        table=pd.DataFrame(rows),
        title=f"Effect of the change on {model.name}, {batch.task}",
        caption="The margin is the answer's logit minus the distractor's; answered right is the share of prompts whose "
        "best token is a right one. The difference is paired over the same prompts.",
        drawing="forest",
        about={"axes": {"rows": ["when"], "facet": "measure"}, "edits": [str(one) for one in edits]},
    )


def _paired(before: PerExample, after: PerExample, measure: str) -> tuple[NDArray, NDArray, NDArray]:
    at = before.axes["measure"].index(measure)
    one, two = (found.values[:, at] for found in (before, after))
    return one, two, two - one


def _mean(values: NDArray) -> dict[str, Any]:
    """A mean with its 95% interval: the number itself if all prompts agree; none for one prompt."""
    if len(values) == 1:
        return {"estimate": float(values[0]), "low": np.nan, "high": np.nan, "n": 1}
    if np.ptp(values) == 0:
        only = float(values.mean())
        return {"estimate": only, "low": only, "high": only, "n": len(values)}
    found = statistics.mean(values[:, None]).columns()
    return {name: float(np.ravel(found[name])[0]) for name in ("estimate", "low", "high")} | {"n": len(values)}
