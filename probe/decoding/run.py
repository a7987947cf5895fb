"""What a decoding run is made of, whatever the paradigm: how the model is called, and who watches."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from probe.paradigms.canvas import Canvas

Forward = Callable[[Canvas], Tensor]  # runs the model: a canvas to its logits
OnStep = Callable[[int, Tensor, Tensor], None]  # told of every forward pass: step, state, and where it wrote
