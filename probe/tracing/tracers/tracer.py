"""What a tracer is: a way to run a model on a canvas and to hand on what is at the selected sites meanwhile.

A tracer is a function that makes a context. Inside, it yields a `Forward`; each call of that runs the model once and
tells `take` of every view of every selected site and layer. `probe.tracing.tracers.hooks` is the shortest example.
docs/how_to/add_a_tracer.md writes another one.
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
    """Told of every view: the site, the layer, the view. `head_out` may come as z, or `projected` already."""

    def __call__(self, one: Site, layer: int, view: Tensor, *, projected: bool = False) -> None: ...


Forward = Callable[[Canvas, bool], Tensor | None]
"""Runs the model on a canvas; the logits, where the second argument asks for them."""


class Tracer(Protocol):
    """Makes a context in which a forward pass of the model tells `take` of every view."""

    def __call__(self, model: Model, selection: Selection, take: Take) -> AbstractContextManager[Forward]: ...
