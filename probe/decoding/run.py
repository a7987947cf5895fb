"""What a decoding run is made of, whatever the paradigm: who makes its passes, and who watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from probe.paradigms.canvas import Canvas

if TYPE_CHECKING:
    from probe.decoding.passes import Passes
    from probe.decoding.trajectory import StridesTaken

Forward = Callable[[Canvas], Tensor]  # runs the model: a canvas to its logits
OnStep = Callable[[int, Tensor, Tensor], None]  # told of every forward pass: step, state, and where it wrote
OnStride = Callable[["StridesTaken"], None]  # told of the strides that ended with a pass


@dataclass(frozen=True)
class Run:
    """What a decoder is handed besides its model, its prompt and its rule."""

    passes: Passes
    seed: int
    on_step: OnStep
    on_stride: OnStride
