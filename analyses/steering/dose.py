"""Dose and effect: how far a push of each size moves the log-probability of an answer, at each step of a decoding run.

The states of a run are not changed. At each of them the stream after a layer is pushed at the answer's slot, and log p
of an answer under a push towards it is compared with that under the same push away from it. Half of the difference is
the effect, so that the effect of any large push, whatever its direction, cancels. A step's effect is that step's alone.
A dose of 1 is the direction itself: the distance of examples with that answer from the others.

    steering.dose(pair, batch, reading="trajectory").figure()

Cost: two forward passes for each dose and each of `draws` + 1 directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analyses.activations.answer_states import AnswerStates, states_of
from analyses.result import Result
from analyses.statistics import adjusted
from analyses.statistics.contrasts import compared
from analyses.statistics.per_example import PerExample
from analyses.steering.directions import Directions, checked_layer, given_or_found
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading, comparable
from probe.readings.reading import ROWS, Prompts
from probe.tasks import Batch
from probe.tracing import add, edit

DOSES = (0.5, 1.0, 2.0, 4.0)
STEERED, RANDOM, BEYOND = "towards the answer", "random directions", "beyond random directions"


def dose(
    models: Model | Pair,
    batch: Batch,
    *,
    layer: int | None = None,
    doses: Iterable[float] = DOSES,
    reading: str | Reading = "prefix",
    directions: Mapping[str, Tensor] | None = None,
    draws: int = 3,
) -> Result:
    """The change of log p of an answer by dose; for random directions of the same length; and the difference.

    layer       behind which the stream is pushed; a third of the way up unless given
    directions  a vector for each role in place of the differences of means
    draws       random directions
    """
    states = states_of(models, batch, ("resid_pre",), reading, None)
    sizes = [float(one) for one in doses]
    made, names = {}, {}
    for role, each in states.items():
        behind = checked_layer(each.model, layer)
        found = given_or_found(role, each, behind, directions, None)
        made[role], names[role] = _of_model(each, behind, found, sizes, draws), each.model.name
    table = of_roles(made, names, batch.task)
    by_step = "step" in table
    if by_step:
        table.insert(0, "series", table["role"] + ", dose " + table["dose"].map("{:g}".format))
    return Result(
        "steering_dose",
        table,
        f"Steering towards an answer, {batch.task}",
        "Half of the difference in log p of an answer between a push of the stream towards it and one away from it, "
        "at the answer's slot, by dose (1: the distance of examples with that answer from others). "
        "Random directions have the same length.",
        "profile",
        {
            "axes": {"x": "step" if by_step else "dose", "colour": "series" if by_step else "role",
                     "facet": "measure", "x_title": "step" if by_step else "dose"},
            "reading": str(reading), "doses": sizes, "draws": draws,
        },
    )  # fmt: skip


def of_roles(made: Mapping[str, PerExample], names: Mapping[str, str], task: str) -> pd.DataFrame:
    """Every role and difference; the effects beyond random directions, and their differences, are tested against 0."""
    table = compared(made, dict(names), task)
    each = [of.table({"model": names[role], "role": role, "task": task}, p=True) for role, of in made.items()]
    tested = pd.concat(each, ignore_index=True)
    tested = tested.loc[tested["measure"] == BEYOND, :]
    own = (table["measure"] == BEYOND) & table["role"].isin(list(made))
    if "p" not in table:
        table = table.assign(p=np.nan)
    table.loc[own, "p"] = tested["p"].to_numpy()
    table.loc[table["measure"] != BEYOND, "p"] = np.nan
    table["null"] = np.where(table["measure"] == BEYOND, 0.0, np.nan)
    return table.assign(q=adjusted(table["p"]))


def _of_model(states: AnswerStates, layer: int, towards: Directions, doses: list[float], draws: int) -> PerExample:
    """Example (× step) × dose × measure; NaN for examples that have this answer anyway."""
    prompts = states.reading.ask(states.model, states.batch)
    generator = torch.Generator().manual_seed(0)
    rivals = [towards.at_random(len(states.batch), generator) for _ in range(draws)]

    def moved(by: Directions, size: float) -> Tensor:
        push = size * by.of(states.example)
        there, away = (_log_p(states, prompts, towards.toward, layer, sign * push) for sign in (1, -1))
        return (there - away) / 2

    effects = torch.stack([moved(towards, size) for size in doses], 1)
    chance = torch.stack([torch.stack([moved(one, size) for size in doses], 1) for one in rivals]).mean(0)
    values = torch.stack([effects, chance, effects - chance], -1)
    values[states.target == towards.toward] = torch.nan
    return states.per_example(values, dose=doses, measure=[STEERED, RANDOM, BEYOND])


@torch.no_grad()
def _log_p(states: AnswerStates, prompts: Prompts, toward: int, layer: int, push: Tensor) -> Tensor:
    """log p of a token at every question's slot, with the stream pushed there."""
    model, found = states.model, []
    for start in range(0, len(states), ROWS):
        rows = slice(start, start + ROWS)
        canvas, slots = prompts.canvas[rows], prompts.slots[rows]
        here = canvas.places.expand(len(canvas), -1).gather(1, slots.to(canvas.places.device))
        with edit(model, add("resid_post", push[rows, None], layer=layer, position=here.cpu())):
            hidden = model.run_trunk(canvas)
        at = slots.to(hidden.device)[..., None].expand(-1, -1, hidden.shape[-1])
        logits = comparable(model.unembed(hidden.gather(1, at))[:, 0].float(), model, states.vocabulary)
        found.append(logits.log_softmax(-1)[:, toward].cpu())
    return torch.cat(found)
