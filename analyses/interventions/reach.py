"""Cone: the cells of the lens grid that a change can reach, by what each layer's attention allows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from probe.models.model import Model
from probe.paradigms.canvas import Canvas


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
