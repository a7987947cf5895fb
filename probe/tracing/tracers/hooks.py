"""The default tracer: plain torch hooks, on the modules of the selected sites and on no others.

A hook passes its module's input or output on without copying it; the recorder copies the selected part into its array.
So a recording costs the forward pass and one copy of what was selected.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from torch import Tensor, nn

from probe.models.scope import Scope
from probe.paradigms.canvas import Canvas
from probe.tracing.selection import Selection
from probe.tracing.sites import Site
from probe.tracing.tracers.tracer import Forward, Take

if TYPE_CHECKING:
    from probe.models.model import Model


@contextmanager
def attached(model: Model, selection: Selection, take: Take) -> Iterator[Forward]:
    """A context whose value runs the model and calls `take` with the values at every selected site and layer."""
    eager, unembed = selection.has("pattern"), selection.has("logits")

    def forward(canvas: Canvas, logits: bool = False) -> Tensor | None:
        if logits or unembed:
            return model.run(canvas, eager=eager)
        model.run_trunk(canvas, eager=eager)
        return None

    with Scope() as scope, ExitStack() as hooks:
        for (module, side), found in _by_module(model, selection).items():
            hooks.callback(_hook(model, module, side, found, take, scope).remove)
        yield forward


def _by_module(model: Model, selection: Selection) -> dict[tuple[nn.Module, str], list[tuple[Site, int]]]:
    """The sites at each module's input and output. One module may have several: GPT-2's projection gives q, k and v."""
    found = defaultdict(list)
    for one in selection.sites:
        for layer in selection.layers_at(one):
            found[one.module(model, layer), one.side].append((one, layer))
    return found


def _hook(model: Model, module: nn.Module, side: str, found: list[tuple[Site, int]], take: Take, scope: Scope):
    def tell(passed) -> None:
        for one, layer in found:
            take(one, layer, one.view(model, passed))

    if side == "in":
        return module.register_forward_pre_hook(scope.owned(lambda _, taken: tell(taken[0])))
    return module.register_forward_hook(scope.owned(lambda _, taken, given: tell(given)))
