"""Controls: what causes a difference between twins, in parts that add up.

An AR model and its diffusion twin differ in three ways at once: the weights were trained longer, on another objective,
and under another attention mask. Two designs separate the three, for any statistic of the same examples:

**The 2×2** of {AR, diffusion} weights and {causal, native} mask:

    weights      the mean of the weights' effect under either mask
    mask         the mean of the mask's effect on either weights
    interaction  how far the weights' effect depends on the mask
    total        diffusion under its own mask minus AR under the causal one = weights + mask

**The controls**: AR-CPT, the AR model trained for as many more steps on the same data with its own objective, and
second seeds:

    total = more training (AR-CPT − AR) + beyond training (diffusion − AR-CPT)
    seed         a model minus the same model with another seed: the noise floor
    again        a second twin minus AR: `total`, replicated

    two_by_two({("ar", "causal"): circuit, …})
    decomposition(ar, diffusion, {"ar-cpt": …, "ar-seed2": …})
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analyses.circuits.circuit import Circuit
from analyses.components.scores import (
    Measure,
    Scores,
    change,
    contrast,
    label,
    measured,
    scores_of,
)
from analyses.front_loading.statistic import early_of, index_of
from analyses.result import Result
from analyses.specialization.spread import figure_of
from analyses.statistics import adjusted
from analyses.statistics.contrasts import contrasts
from probe.errors import ProbeError

Cell = tuple[str, str]  # weights, mask

MEASURES: dict[str, Measure] = {
    "FLI": index_of,
    "early mass": early_of,
    "PR/n": figure_of("PR/n"),
    "PR within layers": figure_of("PR", "within layers"),
}
CELLS: tuple[Cell, ...] = (("ar", "causal"), ("ar", "native"), ("diffusion", "causal"), ("diffusion", "native"))
# How the cells, in the order of CELLS, make up each part.
EFFECTS: dict[str, tuple[float, ...]] = {
    "weights": (-0.5, -0.5, 0.5, 0.5),
    "mask": (-0.5, 0.5, -0.5, 0.5),
    "interaction": (1, -1, -1, 1),
    "total": (-1, 0, 0, 1),
}


def two_by_two(cells: Mapping[Cell, Circuit | Scores], measures: Mapping[str, Measure] = MEASURES) -> Result:
    """What is due to the weights and what to the mask, for each measure of four circuits found on the same examples."""
    scores = [scores_of(cells[cell]) for cell in _complete(cells)]
    rows = []
    for name, make in measures.items():
        named = {"task": scores[0].task, "scope": scores[0].scope, "measure": name}
        for cell, one in zip(CELLS, scores, strict=True):
            rows.append({**named, "part": " weights, ".join(cell) + " mask", **measured(make, one).row(), "p": np.nan})
        for effect, factors in EFFECTS.items():
            found = measured(contrast(make, factors), *scores)
            rows.append({**named, "part": effect, **found.row(p=True), "null": 0.0})
    return _result(rows, "two_by_two", "Weights or mask?", _READS_2X2)


def decomposition(
    ar: Circuit | Scores,
    diffusion: Circuit | Scores,
    controls: Mapping[str, Circuit | Scores],
    measures: Mapping[str, Measure] = MEASURES,
) -> Result:
    """How much of the change more training explains, how much is left, and how much a seed changes by itself."""
    roles = {"ar": scores_of(ar), "diffusion": scores_of(diffusion)}
    roles |= {name: scores_of(one) for name, one in controls.items()}
    rows = []
    for name, make in measures.items():
        for part, (base, other) in contrasts(roles).items():
            found = change(make, roles[base], roles[other])
            rows.append({**label(roles["diffusion"]), "measure": name, "part": part, **found.row(p=True), "null": 0.0})
    return _result(rows, "controls", "Diffusion, more training, or chance?", _READS_CONTROLS)


_READS_2X2 = (
    "Each measure (FLI: how early attribution lies; PR/n: how many components share it) for both weights under both "
    "masks, and its parts: weights + mask = total. If the mask's part equals the "
    "total, running the AR weights bidirectionally would have shown the same."
)
_READS_CONTROLS = (
    "FLI: how early attribution lies; PR/n: how many components share it. Total = more training + beyond training. "
    "A change that AR-CPT shows too is not due to diffusion; one no larger than a "
    "second seed's may be chance."
)


def _result(rows: list[dict[str, Any]], name: str, title: str, caption: str) -> Result:
    table = pd.DataFrame(rows)
    axes = {"rows": ["part"], "colour": "task", "facet": "measure"}
    return Result(name, table.assign(q=adjusted(table["p"])), title, caption, "forest", {"axes": axes})


def _complete(cells: Mapping[Cell, Any]) -> tuple[Cell, ...]:
    missing = [cell for cell in CELLS if cell not in cells]
    if missing:
        raise ProbeError(
            "a 2×2",
            expected="all of " + ", ".join(map(str, CELLS)),
            found="no " + ", ".join(map(str, missing)),
            remedy="Attribute both twins under both masks: reading=Prefix(attention='causal').",
        )
    return CELLS
