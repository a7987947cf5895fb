"""What a tracer is: a way to run a model on a canvas and to read the activations at the selected sites meanwhile.

A tracer is a function (model, selection, take) that makes a context. The context's value is a `Forward`: each call runs
the model once, and calls `take(site, layer, values)` for every selected site and layer. The shortest example is
`probe.tracing.tracers.hooks`; docs/how_to/add_a_tracer.md writes another.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from probe.paradigms.canvas import Canvas

if TYPE_CHECKING:
    from probe.models.model import Model
    from probe.tracing.selection import Selection
    from probe.tracing.sites import Site


class Take(Protocol):
    """What a tracer calls with the values at a site of a layer. Of `head_out` the values may be z, or, with
    `projected=True`, what the heads write to the residual stream."""

    def __call__(self, one: Site, layer: int, view: Tensor, *, projected: bool = False) -> None: ...


Forward = Callable[[Canvas, bool], Tensor | None]
"""Runs the model on a canvas. The second argument asks for the logits; without it the result may be None."""


class Tracer(Protocol):
    """Makes a context whose value runs the model and calls `take` for every selected site and layer."""

    def __call__(self, model: Model, selection: Selection, take: Take) -> AbstractContextManager[Forward]: ...
