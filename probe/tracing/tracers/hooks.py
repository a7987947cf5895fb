"""The default tracer: plain torch hooks, on the modules asked for and on no others.

A hook hands on what its module took or gave, without copying it; the recorder copies the part that is wanted into the
array it belongs to. So a recording costs the forward pass and one copy of what was asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

from torch import Tensor, nn

from probe.paradigms.canvas import Canvas
from probe.tracing.selection import Asked
from probe.tracing.sites import Site

if TYPE_CHECKING:
    from probe.models.model import Model


class Take(Protocol):
    """Told of every view: the site, the layer, the view. `head_out` may come as z, or `projected` already."""

    def __call__(self, one: Site, layer: int, view: Tensor, *, projected: bool = False) -> None: ...


Forward = Callable[[Canvas, bool], Tensor | None]
"""Runs the model on a canvas; the logits, where the second argument asks for them."""


@contextmanager
def attached(model: Model, asked: Asked, take: Take) -> Iterator[Forward]:
    """A forward pass of the model that tells `take` of every view, for as long as the context lasts."""
    eager, unembed = asked.has("pattern"), asked.has("logits")

    def forward(canvas: Canvas, logits: bool = False) -> Tensor | None:
        if logits or unembed:
            return model.run(canvas, eager=eager)
        model.run_trunk(canvas, eager=eager)
        return None

    with ExitStack() as hooks:
        for (module, side), found in _by_module(model, asked).items():
            hooks.callback(_hook(model, module, side, found, take).remove)
        yield forward


def _by_module(model: Model, asked: Asked) -> dict[tuple[nn.Module, str], list[tuple[Site, int]]]:
    """The sites found at each side of each module: GPT-2's one projection gives three."""
    found = defaultdict(list)
    for one in asked.sites:
        for layer in asked.layers_at(one):
            found[one.module(model, layer), one.side].append((one, layer))
    return found


def _hook(model: Model, module: nn.Module, side: str, found: list[tuple[Site, int]], take: Take):
    def tell(passed) -> None:
        for one, layer in found:
            take(one, layer, one.view(model, passed))

    if side == "in":
        return module.register_forward_pre_hook(lambda _, taken: tell(taken[0]))
    return module.register_forward_hook(lambda _, taken, given: tell(given))
