"""Cosine between two models' states of the same token, raw and corrected.

All states of a layer share a large common part, and a few dimensions may outweigh the rest, so the raw cosine of two
*unrelated* tokens is already high. Three versions are given, each with its null (the same models on tokens that do not
correspond): raw; without outlier dimensions; and with every dimension z-scored over tokens, in each model by itself,
which removes the common part too.

Tokens of one text are similar, so at most `TOKENS` of each kind are drawn from it and recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.representation.outliers import TIMES, without_outliers
from analyses.representation.states import Beside, asked, in_pairs, some_of_each
from analyses.result import Result
from analyses.statistics.per_example import PerExample
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading
from probe.tasks import Batch

if TYPE_CHECKING:
    import xarray

TOKENS = 8  # of each kind, of a text
TREATMENTS = ("raw", "outliers dropped", "z-scored")


def cosine(
    models: Model | Pair,
    batch: Batch,
    *,
    reading: str | Reading = "prefix",
    traces: Mapping[str, xarray.Dataset] | None = None,
    times: float = TIMES,
    seed: int = 0,
) -> Result:
    """Cosine of every model's states with the AR model's, layer by layer; clean and masked slots separately."""
    if isinstance(models, Pair):
        models.refuse_strangers("cosine of states")
    parts = []
    for first, role, tokens in in_pairs(asked(models, batch, reading, traces)):
        drawn = {group: rows[some_of_each(tokens.example[rows], TOKENS, seed)] for group, rows in tokens.groups.items()}
        needed = np.unique(np.concatenate([*drawn.values()]))
        both = tokens[needed].states()
        for group, rows in drawn.items():
            found, null = _of_group(both[np.searchsorted(needed, rows)], times, seed)
            parts.append(found.assign(role=role, beside=first, tokens=group, null=null))
    table = pd.concat(parts, ignore_index=True)
    table.insert(0, "panel", table["tokens"] + " · " + table["treatment"])
    axes = {"x": "layer", "colour": "role", "facet": "panel", "x_title": "layer"}
    return Result(
        "cosine",
        table,
        f"Cosine with the AR model's states, {batch.task}",
        "1 is the same direction. The dotted line is the cosine of tokens that do not correspond: only a value "
        "above it shows that a token is represented alike. The line of AR-CPT is the effect of further training alone.",
        "profile",
        {"axes": axes, "reading": str(reading), "times": times, "tokens_a_text": TOKENS, "seed": seed},
    )


def _of_group(both: Beside, times: float, seed: int) -> tuple[pd.DataFrame, NDArray]:
    treated = {"raw": both, "outliers dropped": without_outliers(both, times), "z-scored": z_scored(both)}
    other = np.random.default_rng(seed).permutation(len(both.a))
    real = np.stack([cosines(each.a, each.b) for each in treated.values()], -1)
    null = np.stack([cosines(each.a, each.b[other]) for each in treated.values()], -1)
    names, example = np.unique(both.example, return_inverse=True)
    axes = {"layer": range(both.a.shape[1]), "treatment": TREATMENTS}
    return PerExample.from_questions(real, example, len(names), **axes).table(), np.nanmean(null, 0).ravel()


def cosines(a: NDArray, b: NDArray) -> NDArray:
    """For each token and layer; NaN where a state is 0."""
    with np.errstate(invalid="ignore"):
        return (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))


def z_scored(both: Beside) -> Beside:
    return Beside(_z(both.a), _z(both.b), both.example, both.group)


def _z(states: NDArray) -> NDArray:
    """Over tokens; a constant dimension becomes 0."""
    spread = states.std(0)
    moves = spread > 1e-6 * np.abs(states).max(0)
    return np.where(moves, (states - states.mean(0)) / np.where(moves, spread, 1), 0)
