"""How diffuse components' outputs are, one number per model: Mechanism Shift's hypothesis about output space.

The component lens shows how every head and MLP would answer by itself. Here three of its measures are averaged over all
components of a model, example by example: entropy, the mass of the ten best tokens, and the rank of the target. Models
are compared as in `analyses.hypotheses.controls`: the twin's whole change, the part due to more training, and the
change between seeds.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analyses import statistics
from analyses.activations.answer_states import AnswerStates, states_of
from analyses.lens.components import MEASURES, SITES, component_scores
from analyses.result import Result
from analyses.statistics import adjusted
from analyses.statistics.contrasts import contrasts
from probe.pairs import Pair
from probe.readings import Reading
from probe.tasks import Batch


def diffuseness(
    pair: Pair,
    batch: Batch,
    *,
    reading: str | Reading = "prefix",
    states: Mapping[str, AnswerStates] | None = None,
) -> Result:
    """Each model's mean over components, and the parts of its change."""
    states = states_of(pair, batch, SITES, reading, states)
    means = {role: np.nanmean(component_scores(one).values, axis=-2) for role, one in states.items()}
    about = {"task": batch.task, "scope": batch.scope}
    rows = []
    for at, measure in enumerate(MEASURES):
        for role, values in means.items():
            found = statistics.mean(values[:, at]).row()
            rows.append({**about, "model": states[role].model.name, "part": role, "measure": measure, **found})
        for part, (base, other) in contrasts(means).items():
            found = statistics.mean(means[other][:, at] - means[base][:, at]).row(p=True)
            model = f"{states[other].model.name} − {states[base].model.name}"
            rows.append({**about, "model": model, "part": part, "measure": f"Δ {measure}", **found, "null": 0.0})
    table = pd.DataFrame(rows)
    return Result(
        name="output_diffuseness",
        table=table.assign(q=adjusted(table["p"])),
        title=f"How diffuse components' outputs are, {batch.task}",
        caption="Means over all heads and MLPs, each unembedded by itself. More entropy, less mass on the ten best "
        "tokens and a worse rank of the target are more diffuse. Total change = more training alone "
        "(AR-CPT) + the rest.",
        drawing="forest",
        about={"axes": {"rows": ["part"], "colour": "task", "facet": "measure"}, "reading": str(reading),
               "reference": None},
    )  # fmt: skip
