"""Cone: the cells of the lens grid that a change can reach, by what each layer's attention allows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from probe.decoding import Trajectory
from probe.decoding.places import UNWRITTEN
from probe.models.model import Model
from probe.paradigms.canvas import Canvas
from probe.tracing.edits import Edit, Skip


@torch.no_grad()
def cone(model: Model, canvas: Canvas, *, row: int, slots: Iterable[int] | None = None) -> NDArray[np.bool_]:
    """Which cells (rows of the lens grid × slots) a change can reach: `row` 0 is the embedding, row r the residual
    stream after r layers. `slots` None is every slot."""
    length = canvas.tokens.shape[1]
    felt = torch.zeros(length, dtype=torch.bool)
    felt[list(range(length) if slots is None else slots)] = True
    reached = np.zeros((model.n_layers + 1, length), dtype=bool)
    reached[row] = felt.numpy()
    for layer in range(row, model.n_layers):
        allowed = model.allowed(canvas, layer)[0].cpu().bool()
        felt = felt | (allowed & felt[None]).any(1)
        reached[layer + 1] = felt.numpy()
    return reached


def cones_of_run(
    model: Model, run: Trajectory, edits: Sequence[Edit | Skip], *, row: int, slots: Iterable[int] | None = None
) -> tuple[list[NDArray[np.bool_]], list[int]]:
    """For each step of a run of one example, the cells that edits of some steps can reach; and those steps.

    At a step of the edits: the cone from their cell. From the next step on also whatever follows from the tokens that
    were open at the first of them, since any of these may have been written otherwise. Before it, nothing.
    """
    states, length = run.states[0], run.states.shape[-1]
    where = range(length) if slots is None else list(slots)
    parts = [part for each in edits for part in each.parts()]
    cones, at = [], []
    open_then: list[int] = []
    for step, state in enumerate(states):
        here = int((state != UNWRITTEN).sum())
        canvas = model.canvas(state[None, :here])
        reached = np.zeros((model.n_layers + 1, length), dtype=bool)
        if at:
            reached[:, :here] |= cone(model, canvas, row=0, slots=[slot for slot in open_then if slot < here])
        if any(part.at_step(step) for part in parts):
            reached[:, :here] |= cone(model, canvas, row=row, slots=[slot for slot in where if slot < here])
            if not at:
                open_then = (run.committed_at[0] >= step).nonzero()[:, 0].tolist()
            at.append(step)
        cones.append(reached)
    return cones, at
