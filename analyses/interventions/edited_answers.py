"""Effect: the margin and the share answered right, with and without edits, paired over prompts.

Under a reading of decoding runs the model writes under the edits, each at its own steps: the answer is the one written,
its margin that of the pass that wrote it, and two more numbers say when that was and how many texts became others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses import statistics
from analyses.answers.asked import figures
from analyses.interventions.in_a_run import Run, run
from analyses.result import Result
from analyses.statistics.per_example import PerExample
from probe.batch import Batch
from probe.models.model import Model
from probe.readings import Reading
from probe.readings.by_role import reading_for
from probe.readings.trajectory import TrajectoryReading
from probe.tracing import edit
from probe.tracing.edits import Edit, Skip

WHEN = ("before", "after", "after − before")
STILL = (("margin", "margin"), ("right", "answered right"))  # of the values by prompt, and what the table calls them
OF_RUNS = (*STILL, ("written at", "step that wrote it"))
CHANGED = "text changed"
RUNS = " The model writes by itself: the answer is the written one, its margin that of the step that wrote it."


def effect(
    model: Model,
    batch: Batch,
    edits: Sequence[Edit | Skip],
    *,
    reading: str | Reading = "prefix",
    unedited: Run | None = None,
) -> Result:
    """The margin (the answer's logit minus the distractor's) and the share answered right, with and without edits.

    `unedited` is what `run` found of the batch without edits, where it is known already.
    """
    how = reading_for(model, reading)
    told, further = STILL, []
    labels = {"model": model.name, "task": batch.task}
    if isinstance(how, TrajectoryReading):
        one, two = unedited or run(model, batch, how), run(model, batch, how, edits)
        before, after, told = one.answers, two.answers, OF_RUNS
        other = two.differs(one, batch).astype(float)
        further = [{"measure": CHANGED, "when": WHEN[1], **labels, **_mean(other)}]
    else:
        before = figures(model, batch, how)
        with edit(model, edits):
            after = figures(model, batch, how)
    rows = [
        {"measure": name, "when": when, **labels, **_mean(values)}
        for measure, name in told
        for when, values in zip(WHEN, _paired(before, after, measure), strict=True)
    ]
    return Result(
        name="intervention",
        table=pd.DataFrame([*rows, *further]),
        title=f"Effect of the change on {model.name}, {batch.task}",
        caption="The margin is the answer's logit minus the distractor's; answered right is the share of prompts whose "
        "best token is a right one. The difference is paired over the same prompts."
        + (RUNS if isinstance(how, TrajectoryReading) else ""),
        drawing="forest",
        about={"axes": {"rows": ["when"], "facet": "measure"}, "edits": [str(one) for one in edits]},
    )


def _paired(before: PerExample, after: PerExample, measure: str) -> tuple[NDArray, NDArray, NDArray]:
    at = before.axes["measure"].index(measure)
    one, two = (found.values[:, at] for found in (before, after))
    return one, two, two - one


def _mean(values: NDArray) -> dict[str, Any]:
    """A mean with its 95% interval: the number itself if all prompts agree; none for one prompt."""
    values = values[np.isfinite(values)]  # a prompt whose answer a run never asked has no margin
    if len(values) < 2:
        only = float(values[0]) if len(values) else np.nan
        return {"estimate": only, "low": np.nan, "high": np.nan, "n": len(values)}
    if np.ptp(values) == 0:
        only = float(values.mean())
        return {"estimate": only, "low": only, "high": only, "n": len(values)}
    found = statistics.mean(values[:, None]).columns()
    return {name: float(np.ravel(found[name])[0]) for name in ("estimate", "low", "high")} | {"n": len(values)}
