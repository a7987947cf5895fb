"""The lenses as results: beliefs by layer, and the depths read off them, for a model or for a pair and its controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from analyses.activations.answer_states import AnswerStates, GivenStates, states_of, tabled
from analyses.lens.curves import LENS_SITES, Curves, curves
from analyses.lens.tuned import TunedLens
from analyses.result import Result
from analyses.statistics.per_example import FEWEST, PerExample
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading
from probe.tasks import Batch

MEASURES = {"kl": "KL to the final belief (nats)", "entropy": "entropy (nats)", "rank": "rank of the target",
            "agrees": "share that agree with the end"}  # fmt: skip

Tuned = TunedLens | Mapping[str, TunedLens] | None


def logit_lens(
    models: Model | Pair,
    batch: Batch,
    *,
    reading: str | Reading = "prefix",
    states: GivenStates = None,
    square: bool = False,
) -> Result:
    """Beliefs after each layer, read with the model's own final norm and unembedding."""
    return beliefs(models, batch, reading=reading, states=states, square=square)


def tuned_lens(
    models: Model | Pair,
    batch: Batch,
    tuned: Tuned,
    *,
    reading: str | Reading = "prefix",
    states: GivenStates = None,
    square: bool = False,
) -> Result:
    """The logit lens and the tuned lens. `tuned`: one lens, or one per role of the pair."""
    return beliefs(models, batch, tuned, reading=reading, states=states, square=square)


def beliefs(
    models: Model | Pair,
    batch: Batch,
    tuned: Tuned = None,
    *,
    reading: str | Reading = "prefix",
    states: GivenStates = None,
    square: bool = False,
) -> Result:
    """KL to the final belief, entropy, rank of the target and agreement after each layer, through each lens."""
    states = states_of(models, batch, LENS_SITES, reading, states, square)

    def by_layer(one: AnswerStates, found: Curves) -> PerExample:
        values = torch.stack([getattr(found, name) for name in MEASURES], -1)
        return one.per_example(values, layer=found.layers, measure=MEASURES)

    table = _through_each(states, tuned, by_layer)
    layers = next(iter(states.values())).model.n_layers
    table = table.assign(depth=(table["layer"] + 1) / layers)
    axes = {"x": "depth", "colour": "series", "facet": "measure", "x_title": "layers passed / L"}
    return Result(
        "tuned_lens" if tuned is not None else "logit_lens",
        table,
        f"Belief after each layer, {batch.task}",
        "Each line is a model's belief after each layer: what it would answer if the later layers did nothing. KL is "
        "the distance to the final belief, and falls to 0 where the two agree; a line further left decides earlier. "
        "The logit lens unembeds middle layers in the last layer's basis, so compare models by the tuned lens, which "
        "corrects for it." + _of_steps(table),
        "beliefs",
        {"axes": axes, "reading": str(reading), "measures": MEASURES},
    )


def depth(
    models: Model | Pair,
    batch: Batch,
    tuned: Tuned = None,
    *,
    reading: str | Reading = "prefix",
    states: GivenStates = None,
    square: bool = False,
) -> Result:
    """Prediction depth and KL-half-depth through each lens, and their differences from the AR model's."""
    states = states_of(models, batch, LENS_SITES, reading, states, square)

    def of_question(one: AnswerStates, found: Curves) -> PerExample:
        values = torch.stack([found.prediction_depth, found.kl_half_depth], -1)
        return one.per_example(values, measure=["prediction depth", "KL-half-depth"])

    table = _through_each(states, tuned, of_question)
    axes = {"rows": [name for name in ("lens", "role", "step") if name in table], "facet": "measure", "colour": "role",
            "x_title": "share of the layers passed"}  # fmt: skip
    return Result(
        "prediction_depth",
        table,
        f"Depth at which the answer is decided, {batch.task}",
        "Prediction depth: where the best token becomes the final one and stays so. KL-half-depth: where the distance "
        "to the final belief halves and stays below. 0 is the embedding, 1 the last layer. Rows with a minus sign are "
        "differences from the AR twin on the same examples: below 0, the model decides earlier.",
        "forest",
        {"axes": axes, "reading": str(reading)},
    )


def _of_steps(table: pd.DataFrame) -> str:
    """A sentence for the caption on the lines of a decoding run."""
    if "step" not in table:
        return ""
    return f" A line is one decoding step, with a band if at least {FEWEST} answers are read at it."


def _through_each(states: Mapping[str, AnswerStates], tuned: Tuned, measure: Any) -> pd.DataFrame:
    """A measure of the curves of every role through the logit lens, and through the tuned one if there is one."""
    parts = [tabled(states, lambda one: measure(one, curves(one)), lens="logit")[0]]
    lenses = {"model": tuned} if isinstance(tuned, TunedLens) else dict(tuned or {})
    have = {role: one for role, one in states.items() if role.split(",")[0] in lenses}
    if have:
        shown = tabled(have, lambda one: measure(one, curves(one, lenses[_role_of(have, one)])), lens="tuned")[0]
        parts.append(shown)
    table = pd.concat(parts, ignore_index=True)
    table.insert(0, "series", np.where(table["lens"] == "tuned", table["role"] + ", tuned", table["role"]))
    return table


def _role_of(states: Mapping[str, AnswerStates], one: AnswerStates) -> str:
    """The role whose lens reads these questions: in a cell of the 2×2, that of the weights."""
    return next(role for role, each in states.items() if each is one).split(",")[0]
