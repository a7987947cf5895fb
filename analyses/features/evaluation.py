"""How good a dictionary is: its error in the states, and what a model loses that continues from rebuilt ones.

    fraction of variance unexplained   squared error over the states' variance; 1 would be the mean state alone
    loss recovered                     the states of the question are replaced by what the dictionary makes of them, and
                                       the model goes on: (CE ablated − CE rebuilt) / (CE ablated − CE clean) of the
                                       answer. Ablated is to 0, or to the mean state; 1 is as good as the states
    L0, dead latents                   how many fire in a state, and the share of those that never do

    features.evaluate(dictionary, pair, batch).table

Cost: a recording and four forward passes a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from analyses.features.dictionary import Dictionary
from analyses.features.learning import models_of
from analyses.features.recording import SITE, layer_of, places
from analyses.result import Result
from analyses.statistics import mean, ratio
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading, reading_for
from probe.readings.reading import ROWS, Prompts, answers
from probe.tasks import Batch
from probe.tracing import Edit, edit, patch, record, zero

UNEXPLAINED, FROM_ZERO, FROM_MEAN = (
    "fraction of variance unexplained",
    "loss recovered, of 0",
    "loss recovered, of the mean state",
)
L0, DEAD = "L0", "dead latents"
RESAMPLES = 2_000


def evaluate(
    dictionary: Dictionary, models: Model | Pair, batch: Batch, *, reading: str | Reading = "prefix"
) -> Result:
    """A dictionary's errors, and what they cost the model (or each of a crosscoder's) on a batch it has not seen."""
    found = of_roles(dictionary, models)
    asked = {role: reading_for(model, reading, runs=False) for role, model in found.items()}
    states = states_of(dictionary, found, batch, asked)
    with torch.no_grad():
        latents = dictionary.encode(states)
        rebuilt = dictionary.decode(latents)
    rebuilt = rebuilt if len(found) > 1 else rebuilt[..., None, :]
    rows = []
    for at, (role, model) in enumerate(found.items()):
        label = {"model": model.name, "role": role, "task": batch.task}
        left, there = _errors(states[..., at, :], rebuilt[..., at, :])
        rows.append({**label, "measure": UNEXPLAINED, **ratio(left, there, count=RESAMPLES).row(), "null": 1.0})
        costs = losses(model, batch, asked[role], dictionary, at, rebuilt[..., at, :])
        for name, ablated in ((FROM_ZERO, "zero"), (FROM_MEAN, "mean")):
            better, whole = costs[ablated] - costs["rebuilt"], costs[ablated] - costs["clean"]
            rows.append({**label, "measure": name, **ratio(better, whole, count=RESAMPLES).row(), "null": 0.0})
    label = {"model": " and ".join(model.name for model in found.values()), "role": "", "task": batch.task}
    often = (latents > 0).float().sum(-1).flatten(1).mean(1).numpy()
    rows.append({**label, "measure": L0, **mean(often, count=RESAMPLES).row(), "null": np.nan})
    silent = float((latents <= 0).flatten(0, -2).all(0).float().mean())
    rows.append({**label, "measure": DEAD, "estimate": silent, "n": dictionary.latents, "null": np.nan})
    units = {UNEXPLAINED: "share of variance", FROM_ZERO: "share of loss", FROM_MEAN: "share of loss",
             L0: "latents", DEAD: "share of latents"}  # fmt: skip
    table = pd.DataFrame(rows)
    return Result(
        "dictionary",
        table.assign(unit=[units[name] for name in table["measure"]]),
        f"How good a dictionary is, {batch.task}",
        "What it leaves of the states' variance, and of what the answer's cross-entropy loses without the states of "
        "the question, how much it keeps once they are rebuilt (1: all; 0: as with none, or the mean state).",
        "forest",
        {"axes": {"rows": ["role"], "facet": "measure", "x_title": ""}, "reference": None, "reading": str(reading)},
    )


def of_roles(dictionary: Dictionary, models: Model | Pair) -> dict[str, Model]:
    """A dictionary's models by role. For a dictionary of one model, a single model may be given."""
    if isinstance(models, Model):
        return {dictionary.models[dictionary.role()]: models}
    return models_of(models, dictionary.models)


def states_of(
    dictionary: Dictionary, models: Mapping[str, Model], batch: Batch, asked: Mapping[str, Reading]
) -> Tensor:
    """The states that it reads: question × place × model × feature."""
    found = []
    for role, model in models.items():
        layers, where = [layer_of(model, dictionary.layer)], places(batch)
        trace = record(model, batch, [SITE], reading=asked[role], layers=layers, positions=where)
        found.append(torch.from_numpy(trace[SITE].values)[:, 0].float())
    return torch.stack(found, 2)


def _errors(states: Tensor, rebuilt: Tensor) -> tuple[NDArray, NDArray]:
    """For each example: squared error, and squared distance from the mean state."""
    left = (states - rebuilt).square().sum((1, 2))
    there = (states - states.mean((0, 1))).square().sum((1, 2))
    return left.double().numpy(), there.double().numpy()


def losses(
    model: Model, batch: Batch, reading: Reading, dictionary: Dictionary, at: int, rebuilt: Tensor
) -> dict[str, NDArray]:
    """The answer's cross-entropy of each question, in nats: as it is, rebuilt, and ablated to 0 or to the mean."""
    where: dict[str, Any] = {"layer": layer_of(model, dictionary.layer), "position": places(batch)}
    average = dictionary.b_dec[at] * dictionary.scale[at]
    prompts = reading.ask(model, batch)
    changes = {
        "clean": None,
        "rebuilt": lambda rows: patch(SITE, rebuilt[rows], **where),
        "zero": lambda rows: zero(SITE, **where),
        "mean": lambda rows: patch(SITE, average, **where),
    }
    target = batch.target.cpu()[prompts.view.example.cpu()]
    return {name: _loss(model, prompts, target, change) for name, change in changes.items()}


@torch.no_grad()
def _loss(model: Model, prompts: Prompts, target: Tensor, change: Any) -> NDArray:
    found = []
    for start in range(0, len(target), ROWS):
        rows = slice(start, start + ROWS)
        part = Prompts(prompts.canvas[rows], prompts.slots[rows], prompts.view)
        edits: list[Edit] = [] if change is None else [change(rows)]
        with edit(model, edits):
            logits = answers(model, part)
        found.append(cross_entropy(logits.cpu(), target[rows], reduction="none"))
    return torch.cat(found).double().numpy()
