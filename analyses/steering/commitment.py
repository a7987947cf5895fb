"""Commitment: the step of a run from which a push no longer changes the answer.

The run is decoded again with the same push, at the answer's slot, from step s on, for every s. A push from the
beginning changes some answers into the one that it points to; a push after an answer was written changes none. The
first step from which the effect is gone is where the answer has committed, whenever the run recorded the token. An
autoregressive model's steps are its tokens.

    steering.commitment(pair, batch, dose=4).figure()

Cost: (`draws` + 1) × steps decoding runs, and one more; without a KV cache, since edited passes use none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from analyses.activations.answer_states import states_of
from analyses.result import Result
from analyses.statistics.per_example import PerExample
from analyses.steering.directions import Directions, checked_layer, given_or_found
from analyses.steering.dose import BEYOND, RANDOM, STEERED, of_roles
from probe.decoding import Trajectory, decode
from probe.decoding.writer import Asked
from probe.errors import ProbeError
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings.still import written_span
from probe.tasks import Batch
from probe.tracing import Edit, Skip, add, edit, only

COMMITTED = "written by then"


def commitment(
    models: Model | Pair,
    batch: Batch,
    *,
    layer: int | None = None,
    dose: float = 4.0,
    directions: Mapping[str, Tensor] | None = None,
    draws: int = 2,
    sampler: Asked = None,
) -> Result:
    """The share of answers that a push from each step on changes into the one that it points to.

    layer       after which the stream is pushed; by default a third of the way up
    dose        the size of the push, in lengths of the direction
    directions  a vector for each role instead of the differences of means
    sampler     for the diffusion models and the controls of their paradigm; an AR model writes from left to right
    """
    states = states_of(models, batch, ("resid_pre",), "prefix", None)
    made, names = {}, {}
    for role, each in states.items():
        behind = checked_layer(each.model, layer)
        found = given_or_found(role, each, behind, directions, None)
        rule = None if each.model.mask_id is None or each.model.paradigm.asked_by is not None else sampler
        made[role] = _of_model(each.model, batch, behind, found, (dose, draws), rule)
        names[role] = each.model.name
    table = of_roles(made, names, batch.task)
    axes = {"x": "from_step", "colour": "role", "facet": "measure", "x_title": "first step of the push"}
    return Result(
        "steering_commitment",
        table,
        f"When the answer commits, {batch.task}",
        "The share of answers that become the one pushed towards, by the step at which the push begins; for "
        f"random directions of the same length; and the share of answers already written by that step. Dose {dose:g}.",
        "profile",
        {"axes": axes, "dose": dose, "draws": draws},
    )


def _of_model(
    model: Model, batch: Batch, layer: int, towards: Directions, amount: tuple[float, int], rule: Asked
) -> PerExample:
    """Example × first step × measure."""
    dose, draws = amount
    generator = torch.Generator().manual_seed(0)
    rivals = [towards.at_random(len(batch), generator) for _ in range(draws)]
    run = _written(model, batch, rule)
    if run.tau is not None:
        raise ProbeError("when an answer commits", expected="a run that writes tokens at steps of its own",
                         found=f"{model.name!r}, a flow, which writes all tokens at the end",
                         remedy="Use steering.dose, which needs no such step.")  # fmt: skip
    answer = batch.positions["answer"].cpu()[:, 0]
    committed = run.committed_at.cpu()[torch.arange(len(batch)), answer]
    before = _says(run, answer, towards.toward)
    place = _read_at(model, batch)
    columns: dict[str, list[Tensor]] = {STEERED: [], RANDOM: [], BEYOND: [], COMMITTED: []}
    steps = range(len(run) + 1)
    for step in steps:
        turned = [
            _says(_written(model, batch, rule, _push(one, dose, layer, place, step)), answer, towards.toward) - before
            for one in (towards, *rivals)
        ]
        chance = torch.stack(turned[1:]).mean(0)
        for name, values in zip(columns, (turned[0], chance, turned[0] - chance, committed < step), strict=True):
            columns[name].append(values.float())
    values = torch.stack([torch.stack(each, 1) for each in columns.values()], -1)
    values[batch.target.cpu() == towards.toward] = torch.nan
    return PerExample.of(np.asarray(values), from_step=steps, measure=columns)


def _read_at(model: Model, batch: Batch) -> Tensor:
    """The slot that predicts the answer while it is masked (example × 1)."""
    answer = batch.positions["answer"].cpu()
    text = batch.clean.cpu()
    still_open = text if model.mask_id is None else text.scatter(1, answer, model.mask_id)
    return model.paradigm.read_at(still_open, answer)


def _push(by: Directions, dose: float, layer: int, place: Tensor, step: int) -> list[Edit | Skip]:
    vector = dose * by.of(torch.arange(len(place)))[:, None]
    return [only(add("resid_post", vector, layer=layer, position=place), step=slice(step, None))]


def _written(model: Model, batch: Batch, rule: Asked, changes: Iterable[Edit | Skip] = ()) -> Trajectory:
    start, length = written_span(batch, "trajectory")
    with edit(model, changes):
        return decode(model, batch.clean[:, :start], length, sampler=rule, seed=0)


def _says(run: Trajectory, answer: Tensor, token: int) -> Tensor:
    """Whether each written answer is the token."""
    return (run.tokens.cpu()[torch.arange(len(answer)), answer] == token).float()
