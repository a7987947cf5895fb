"""Partial forward passes: they start at a layer, from the residual stream that a whole pass computed there.

A change in layer l changes nothing before it. So a thousand knock-outs need not compute the earlier layers a thousand
times:

    whole = Whole.of(model, canvas)              # one pass: each layer's input, and every source's output
    with whole.begun(layer, rows):               # passes in here start at `layer`, with these rows of its input
        hidden = model.run_trunk(canvas[rows])

The earlier blocks pass on their input, and the block at `layer` gets the stored stream instead. Everything else
(positions, masks, hooks of edits) is the model's own, so this works for every architecture. Other threads' passes of
the same model are not affected.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from analyses.circuits.attribution.node_outputs import NodeOutputs, outputs_of
from probe.models.scope import Scope, stand_in

if TYPE_CHECKING:
    from probe.models.model import Model
    from probe.paradigms.canvas import Canvas


@dataclass(eq=False)
class Whole:
    """The activations of a whole pass over a canvas: `entering`, each layer's input, and the sources' outputs."""

    model: Model
    entering: list[Tensor]  # per layer (rows, slots, feature)
    tupled: list[bool]  # per layer: whether the block returns a tuple
    outputs: NodeOutputs

    @classmethod
    def of(cls, model: Model, canvas: Canvas) -> Whole:
        entering: list[Tensor] = []
        tupled: list[bool] = []

        def keep(_block: nn.Module, taken: tuple, given: Tensor | tuple) -> None:
            entering.append(taken[0].detach())
            tupled.append(isinstance(given, tuple))

        with Scope() as scope, ExitStack() as hooks:
            for block in model.blocks:
                hooks.callback(block.register_forward_hook(scope.owned(keep)).remove)
            outputs, _ = outputs_of(model, canvas)
        return cls(model, entering, tupled, outputs)

    @contextmanager
    def begun(self, layer: int, rows: Tensor) -> Iterator[None]:
        """Passes of `rows` inside start at `layer`."""
        stream = self.entering[layer][rows.to(self.entering[layer].device)]
        below, first = self.model.blocks[:layer], self.model.blocks[layer]
        with Scope() as scope, ExitStack() as undo:
            for block, tupled in zip(below, self.tupled, strict=False):
                undo.callback(stand_in(block, scope, _passed_by(tupled)))  # hooks stay, the computation is skipped
            if layer:
                entering = scope.owned(lambda _, taken: (stream, *taken[1:]))
                undo.callback(first.register_forward_pre_hook(entering).remove)
            yield


def _passed_by(tupled: bool):
    def forward(stream: Tensor, *_given: object, **_named: object) -> Tensor | tuple[Tensor]:
        return (stream,) if tupled else stream

    return forward
