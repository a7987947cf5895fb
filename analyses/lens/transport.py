"""Transport: how a small change of the residual stream, at any layer and slot, changes it at the end of the answer's
slot.

To first order this is the Jacobian ∂(final residual at the answer's slot) / ∂(residual after layer l, slot j): a matrix
of features × features for every layer and slot. TransformerLens fits such matrices for causal models. Under full
attention information arrives from both sides, so the slots are summed in three groups: those left of the answer's slot,
itself, and those right of it, by their positions in the text.

One forward pass of some rows builds the graph; then a chunk of output features goes backward together (a batched
vector-Jacobian product), so a question costs d backward passes of its rows, for all layers, slots and sides together.
After the last layer the slot's own matrix is the identity and the others are 0.

    for part in transports(model, prompts): part.jacobian        # rows × layer × side × feature out × feature in
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from probe.models.model import Model
from probe.models.scope import Scope
from probe.paradigms.canvas import Canvas
from probe.readings.reading import Prompts

SIDES = ("left", "itself", "right")
_ROOM = 2**26  # numbers of a chunk of Jacobians, and of the gradients of one batched backward pass


@dataclass(frozen=True, eq=False)
class Transport:
    """The Jacobians of some questions. Layers count from -1, the embedding, as in all lenses."""

    rows: slice
    jacobian: Tensor  # (rows, layer, side, feature out, feature in), summed over the slots of a side
    energy: Tensor  # (rows, layer, side), Σ over slots of the squared norm of each slot's own matrix
    even: Tensor  # (rows, side), the share of its visible slots on each side


def transports(model: Model, prompts: Prompts, *, rows: int | None = None) -> Iterator[Transport]:
    """Chunk by chunk, the Jacobians of every question towards the answer's slot."""
    each = (model.n_layers + 1) * len(SIDES) * model.d_model**2
    step = rows or max(1, min(16, _ROOM // each))
    for start in range(0, len(prompts.slots), step):
        chunk = slice(start, min(start + step, len(prompts.slots)))
        yield _transport(model, prompts.canvas[chunk], prompts.slots[chunk, 0], chunk)


def _transport(model: Model, canvas: Canvas, slots: Tensor, chunk: slice) -> Transport:
    slots = slots.to(model.device)
    sides = sides_of(canvas.to(model.device), slots)
    with torch.enable_grad(), _streams(model) as streams:
        model.run_trunk(canvas, eager=True)  # eager attention supports batched differentiation
    n, d = len(slots), model.d_model
    final = streams[-1][torch.arange(n, device=model.device), slots.to(streams[-1].device)]
    jacobian = torch.empty(n, len(streams), len(SIDES), d, d)
    energy = torch.zeros(n, len(streams), len(SIDES))
    at_once = max(1, min(d, _ROOM // (len(streams) * streams[0].numel())))
    for features in torch.arange(d, device=final.device).split(at_once):
        towards = torch.zeros(len(features), n, d, device=final.device, dtype=final.dtype)
        towards[torch.arange(len(features)), :, features] = 1.0
        found = torch.autograd.grad(final, streams, towards, retain_graph=True, is_grads_batched=True)
        for layer, gradient in enumerate(found):
            weight = sides.to(gradient)
            jacobian[:, layer, :, features.cpu()] = torch.einsum("frjd,rjs->rsfd", gradient, weight).float().cpu()
            energy[:, layer] += torch.einsum("frjd,frjd,rjs->rs", gradient, gradient, weight).float().cpu()
    return Transport(chunk, jacobian, energy, _even(canvas, slots, sides))


def sides_of(canvas: Canvas, slots: Tensor) -> Tensor:
    """The side of its row's answer slot that each slot is on (rows, slots, side), by their positions."""
    places = canvas.places.expand(len(canvas), -1)
    here = places.gather(1, slots[:, None])
    return torch.stack([places < here, places == here, places > here], -1)


def _even(canvas: Canvas, slots: Tensor, sides: Tensor) -> Tensor:
    """Each side's share if all slots that the answer's slot may attend to contributed alike."""
    allowed = canvas.to(str(sides.device)).allowed.expand(len(canvas), -1, -1)
    seen = allowed[torch.arange(len(slots), device=sides.device), slots, :, None] & sides
    count = seen.sum(1).float()
    return (count / count.sum(-1, keepdim=True)).cpu()


@contextmanager
def _streams(model: Model) -> Iterator[list[Tensor]]:
    """The residual stream before the first layer, between layers and after the last, as one graph from its root."""
    streams: list[Tensor] = []

    def root(_module: nn.Module, taken: tuple) -> tuple:
        streams[:] = [taken[0].detach().requires_grad_()]
        return (streams[0], *taken[1:])

    def on_the_way(_module: nn.Module, taken: tuple) -> None:
        streams.append(taken[0])

    with Scope() as scope:
        first, *others = model.blocks
        handles = [first.register_forward_pre_hook(scope.owned(root))]
        passed = [*others, model.layout.part(model.backbone, "final_norm")]
        handles += [module.register_forward_pre_hook(scope.owned(on_the_way)) for module in passed]
        try:
            yield streams
        finally:
            for handle in handles:
                handle.remove()
