"""Position roles: which of a task's named positions a slot of the canvas is.

A slot may have several names (the answer is also part of the completion); it takes the first in the order given. What
has none is `elsewhere`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from analyses.circuits.graph import ELSEWHERE
from probe.errors import ProbeError, nearest

if TYPE_CHECKING:
    from analyses.circuits.attribution.prompts import Questions
    from probe.batch import Batch


def role_names(batch: Batch, roles: bool | Iterable[str]) -> tuple[str, ...]:
    """The roles of a graph: those named, or with True all that the task names, the narrowest first."""
    if roles is False:
        return ()
    if roles is True:
        chosen = sorted(batch.positions, key=lambda name: batch.positions[name].shape[1])
    else:
        chosen = [roles] if isinstance(roles, str) else list(roles)
    for name in chosen:
        if name not in batch.positions:
            raise ProbeError(
                f"role {name!r}",
                expected="a position that the task names",
                found=repr(name),
                remedy=nearest(name, batch.positions),
            )
    return (*chosen, ELSEWHERE)


def roles_of(questions: Questions, batch: Batch, names: tuple[str, ...]) -> Tensor | None:
    """(rows, slots): the number of each slot's role."""
    if not names:
        return None
    canvas = questions.canvas()
    places = canvas.places.expand(len(questions), -1).cpu()
    role = torch.full(places.shape, len(names) - 1)
    example = questions.clean.view.example.cpu()
    for number in reversed(range(len(names) - 1)):
        named = batch.positions[names[number]].cpu()[example]  # (rows, k)
        role[(places[:, :, None] == named[:, None]).any(-1)] = number
    return role
