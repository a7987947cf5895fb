"""Features where neurons are used: for selectivity, for steering.

    features.activations(dictionary, pair, batch)          # example × 1 layer × latent, at the slot that answers
    features.selectivity(dictionary, model, batch).table   # as specialization.selectivity has it of neurons
    steering.dose(model, batch, directions={"model": features.toward(dictionary, model, other_batch)})

Cost: one forward pass of each model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analyses.features.dictionary import Dictionary
from analyses.features.evaluation import of_roles
from analyses.features.recording import SITE, layer_of
from analyses.result import Result
from analyses.specialization import neurons
from analyses.specialization.neurons import auroc
from analyses.steering.directions import most_common
from probe.errors import ProbeError
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading, reading_for
from probe.tasks import Batch
from probe.tracing import record


def activations(
    dictionary: Dictionary, models: Model | Pair, batch: Batch, *, reading: str | Reading = "prefix"
) -> NDArray:
    """A dictionary's latents where the answer is read: example × 1 × latent, draws of masks averaged."""
    states = []
    for model in of_roles(dictionary, models).values():
        asked = reading_for(model, reading, runs=False)
        layers = [layer_of(model, dictionary.layer)]
        trace = record(model, batch, [SITE], layers=layers, reading=asked, positions="read")
        states.append((torch.from_numpy(trace[SITE].values)[:, 0, 0].float(), trace["of_example"].to_numpy()))
    (_, example), *others = states
    if any(len(other) != len(example) or (other != example).any() for _, other in others):
        raise ProbeError("latents of a crosscoder", expected="a reading that asks both models as often",
                         found=str(reading), remedy="Ask by prefix or one_mask.")  # fmt: skip
    with torch.no_grad():
        latents = dictionary.encode(torch.stack([state for state, _ in states], 1)).numpy().astype(np.float64)
    total = np.zeros((len(batch), latents.shape[1]))
    np.add.at(total, example, latents)
    return (total / np.bincount(example, minlength=len(batch))[:, None])[:, None]


def selectivity(
    dictionary: Dictionary,
    models: Model | Pair,
    batch: Batch,
    labels: Sequence[Any] | None = None,
    *,
    reading: str | Reading = "prefix",
    seed: int = 0,
) -> Result:
    """Mean selectivity and the share of selective latents; a crosscoder's are those of all its models together."""
    model = next(iter(of_roles(dictionary, models).values()))
    given = {"model": activations(dictionary, models, batch, reading=reading)}
    found = neurons.selectivity(model, batch, labels, reading=reading, activations=given, seed=seed)
    role = dictionary.models[0] if len(dictionary.models) == 1 else " and ".join(dictionary.models)
    table = found.table.assign(role=role, layer=dictionary.layer)
    return replace(found, name="feature_selectivity", table=table, title="Do single features tell the cases apart?")


def toward(
    dictionary: Dictionary,
    model: Model | Pair,
    batch: Batch,
    *,
    role: str | None = None,
    token: int | None = None,
    reading: str | Reading = "prefix",
) -> Tensor:
    """A direction towards an answer (the most common one by default): the direction of the latent that tells this
    answer best, times how much larger it is in examples with that answer. Steer other examples with it."""
    chosen = most_common(batch) if token is None else token
    latents = activations(dictionary, model, batch, reading=reading)[:, 0]
    case = (batch.target.cpu() == chosen).numpy()
    if not 0 < case.sum() < len(case):
        raise ProbeError(
            f"a feature for token {chosen} on {batch.task}",
            expected="examples with and without that answer",
            found=f"{int(case.sum())} of {len(case)} with it",
            remedy="Take more examples.",
        )
    best = int(np.abs(auroc(latents, case[:, None].astype(float))[0] - 0.5).argmax())
    amount = latents[case, best].mean() - latents[~case, best].mean()
    return float(amount) * dictionary.direction(best, role)
