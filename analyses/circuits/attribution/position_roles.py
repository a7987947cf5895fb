"""Position roles: which of a task's named positions a slot of the canvas is.

A slot may have several names: the answer is also part of the completion. It takes the first in the order given. A slot
without a name is `elsewhere`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from analyses.circuits.graph import ELSEWHERE
from probe.errors import ProbeError, nearest

if TYPE_CHECKING:
    from analyses.circuits.attribution.prompts import PromptPairs
    from probe.batch import Batch


def position_role_names(batch: Batch, wanted: bool | Iterable[str]) -> tuple[str, ...]:
    """The position roles of a graph: those named, or with True all that the task names, the narrowest first."""
    if wanted is False:
        return ()
    if wanted is True:
        chosen = sorted(batch.positions, key=lambda name: batch.positions[name].shape[1])
    else:
        chosen = [wanted] if isinstance(wanted, str) else list(wanted)
    for name in chosen:
        if name not in batch.positions:
            raise ProbeError(
                f"position role {name!r}",
                expected="a position that the task names",
                found=repr(name),
                remedy=nearest(name, batch.positions),
            )
    return (*chosen, ELSEWHERE)


def position_roles_of(prompts: PromptPairs, batch: Batch, names: tuple[str, ...]) -> Tensor | None:
    """(rows, slots): the number of each slot's role."""
    if not names:
        return None
    canvas = prompts.canvas()
    places = canvas.places.expand(len(prompts), -1).cpu()
    role = torch.full(places.shape, len(names) - 1)
    example = prompts.clean.view.example.cpu()
    for number in reversed(range(len(names) - 1)):
        named = batch.positions[names[number]].cpu()[example]  # (rows, k)
        role[(places[:, :, None] == named[:, None]).any(-1)] = number
    return role
