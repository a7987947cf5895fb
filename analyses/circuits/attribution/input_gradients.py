"""Input gradients: the gradient of the metric at every target's input, in compact form.

A target's input is the residual stream *before* the norm, and each head's query, key and value has its own: at full
width that would be hundreds of residual streams. But a head's gradient g at its projection's output is small, and the
map from there to the stream is known in closed form (`norms`): with W the projection and x the stream,

    ∂M/∂in_v  =  r · P (γ ∘ W_v g_v)  -  r² · Px · c_v,      c_v = r ⟨q_v - q_0, g_v⟩ / d

where q_v is the projection's own output and q_0 its output if the norm's is 0. So two things are kept: r g, as wide as
the projections, and c, one number per head and position. The first term is linear in r g, with weights that stay the
same along the path of integration: its sum over the path is kept and multiplied once, at the end. The second depends on
x, which changes, so x and c are held for a few points of the path until they are multiplied (`HELD`).

An MLP and the logits have a norm of their own. They read an alias of the stream, so the gradient at the alias has
passed through that norm and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from analyses.circuits.attribution import key_directions
from analyses.circuits.attribution.node_outputs import NodeOutputs, experts_of
from analyses.circuits.attribution.qkv_projections import Piece, QKVProjections
from probe.models.scope import Scope
from probe.models.writes import Writes
from probe.tracing.sites import output_weight

if TYPE_CHECKING:
    from probe.models.model import Model
    from probe.paradigms.canvas import Canvas


HELD = 5  # points of the path that are held at a time


class InputGradients:
    """The gradients of the targets of some rows so far; with a canvas, keys and values are split by direction."""

    def __init__(self, model: Model, delta: NodeOutputs, parted: Canvas | None = None):
        rows, slots, _ = delta.embed.shape
        self.model, self.delta, self.parted = model, delta, parted
        apart = parted is not None
        self.projections = [QKVProjections.of(model, layer, directions=apart) for layer in range(model.n_layers)]
        self.rest = [projections.at_rest() for projections in self.projections]
        new = delta.embed.new_zeros
        self.heads = [new(rows, slots, projections.width) for projections in self.projections]  # Σ r g
        self.mlps = [torch.zeros_like(delta.embed) for _ in self.projections]
        self.logits = torch.zeros_like(delta.embed)
        self.nodes = new(rows, 2 + model.n_layers * (model.n_heads + 1))  # sources, then the logits
        self.neurons = None if delta.neurons is None else new(rows, model.n_layers, delta.neurons[0].shape[-1])
        self.experts = None if delta.experts is None else new(rows, model.n_layers, experts_of(model))
        self.held: list[dict[int, tuple[Tensor, Tensor]]] = []  # per point of the path, by layer: x, and r c
        # Of the current pass:
        self.sides: list[key_directions.Sides] | None = None
        self.streams: list[Tensor] = [delta.embed[:0]] * model.n_layers  # x
        self.scales: list[Tensor] = [delta.embed[:0]] * model.n_layers  # r
        self.put_out: dict[int, Tensor] = {}  # of a fused projection, on its way to the attention

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch the gradients of the forward passes inside the context."""
        model, layout = self.model, self.model.layout
        with Scope() as scope, ExitStack() as hooks:
            sides = None if self.parted is None else hooks.enter_context(key_directions.parted(model, self.parted))
            self.sides = sides

            def at(module: nn.Module, before=None, after=None) -> None:
                if before is not None:
                    hooks.callback(module.register_forward_pre_hook(scope.owned(before)).remove)
                if after is not None:
                    hooks.callback(module.register_forward_hook(scope.owned(after)).remove)

            for layer, (block, projections) in enumerate(zip(model.blocks, self.projections, strict=True)):
                at(layout.of_block(block, "attention_read"), before=self._stream(layer))
                for module in projections.modules:
                    at(module, after=self._projected(layer, projections.of_module(module)))
                if sides is not None and sides[layer].split is not None:
                    sides[layer].split = partial(self._split, layer)
                at(layout.of_block(block, "mlp_read"), before=self._alias(self.mlps[layer]))
                at(layout.of_block(block, "attention_write"), after=self._head_writes(layer))
                at(layout.of_block(block, "mlp_write"), after=self._mlp_writes(layer))
            at(model.embed_write, after=_on_output(self._input_write))
            at(layout.part(model.backbone, "final_norm"), before=self._alias(self.logits))
            self.held.append({})
            yield

    def finish(self, change: Tensor) -> None:
        """The logits' own score: the effect of a change of the stream there."""
        self.nodes[:, -1] = (self.logits * change).sum((1, 2))

    def _stream(self, layer: int):
        def hook(_module, taken):
            if taken[0].requires_grad:
                self.streams[layer] = taken[0].detach()
                self.scales[layer] = self.projections[layer].norm.scale(self.streams[layer])[..., None]

        return hook

    def _projected(self, layer: int, pieces: list[Piece]):
        """A projection's output, to be caught; if it is doubled, both copies."""

        def hook(module, _taken, found: Tensor) -> Tensor | None:
            if not found.requires_grad:
                return None
            put_out = found.detach()
            if len(pieces) > 1 and self.sides is not None and self.sides[layer].split is not None:
                queries = slice(0, self.model.n_heads * self.model.d_head)
                self._listen(layer, found, Piece(module, self.model.qkv_columns["q"], queries), put_out)
                self.put_out[layer] = put_out
                return None
            copies = [found.view_as(found) for _ in pieces]
            for copy, piece in zip(copies, pieces, strict=True):
                self._listen(layer, copy, piece, put_out)
            return torch.cat(copies, dim=-1) if len(copies) > 1 else copies[0]

        return hook

    def _listen(self, layer: int, found: Tensor, piece: Piece, put_out: Tensor) -> None:
        """Catch the gradient at some columns of a projection's output."""
        caught = self._caught(layer, piece.part, put_out[..., piece.columns])
        found.register_hook(lambda gradient: caught(gradient[..., piece.columns]))

    def _split(self, layer: int, key: Tensor, value: Tensor) -> tuple[key_directions.Copies, key_directions.Copies]:
        """Two copies of GPT-2's keys and values (rows, head, slot, head_feature), each to be caught."""
        put_out, width = self.put_out.pop(layer, None), self.model.n_heads * self.model.d_head
        copies = [one.view_as(one) for one in (key, value, key, value)]
        for number, copy in enumerate(copies, start=1):
            if put_out is None or not copy.requires_grad:
                continue
            where = (number - 1) % 2 + 1  # among queries, keys and values
            part = slice(number * width, (number + 1) * width)
            caught = self._caught(layer, part, put_out[..., where * width : (where + 1) * width])
            copy.register_hook(lambda gradient, caught=caught: caught(gradient.transpose(1, 2).flatten(2)))
        return (copies[0], copies[2]), (copies[1], copies[3])

    def _caught(self, layer: int, part: slice, put_out: Tensor) -> Callable[[Tensor], None]:
        """The function called with the gradient at some of the joint output."""
        projections, rest = self.projections[layer], self.rest[layer][part]
        heads = slice(part.start // projections.d_head, part.stop // projections.d_head)

        def caught(gradient: Tensor) -> None:
            gradient, scale = gradient.float(), self.scales[layer]
            self.heads[layer][..., part].addcmul_(gradient, scale)
            if projections.norm.present:
                product = (put_out.float() - rest).mul_(gradient).unflatten(-1, (-1, projections.d_head)).sum(-1)
                self._bend(layer)[..., heads] = product.mul_(scale.square() / self.delta.embed.shape[-1])

        return caught

    def _bend(self, layer: int) -> Tensor:
        """Where r c of the current pass is kept, with its stream."""
        point = self.held[-1]
        if layer not in point:
            empty = self.nodes.new_zeros(*self.delta.embed.shape[:2], self.projections[layer].heads)
            point[layer] = self.streams[layer], empty
        return point[layer][1]

    def _alias(self, into: Tensor):
        def caught(gradient: Tensor) -> None:
            into.add_(gradient)

        def hook(_module, taken):
            if not taken[0].requires_grad:
                return None
            alias = taken[0].view_as(taken[0])
            alias.register_hook(caught)
            return (alias, *taken[1:])

        return hook

    def _input_write(self, gradient: Tensor) -> None:
        self.nodes[:, 0] += (gradient * self.delta.embed).sum((1, 2))

    def _head_writes(self, layer: int):
        columns = slice(1 + layer * (self.model.n_heads + 1), (layer + 1) * (self.model.n_heads + 1))
        weight = output_weight(self.model, layer).flatten(0, 1)

        def caught(gradient: Tensor) -> None:
            product = (gradient.float() @ weight.float().T * self.delta.heads[layer]).unflatten(
                -1, (self.model.n_heads, -1)
            )
            self.nodes[:, columns] += product.sum((1, 3))

        return _on_output(caught)

    def _mlp_writes(self, layer: int):
        column = (layer + 1) * (self.model.n_heads + 1)
        weight = None if self.neurons is None else Writes.of_neurons(self.model, layer).weight

        def caught(gradient: Tensor) -> None:
            self.nodes[:, column] += (gradient * self.delta.mlps[layer]).sum((1, 2))
            if weight is not None and self.neurons is not None and self.delta.neurons is not None:
                self.neurons[:, layer] += (gradient.float() @ weight.float().T * self.delta.neurons[layer]).sum(1)
            if self.experts is not None and self.delta.experts is not None:
                self.experts[:, layer] += self.delta.experts[layer].along(gradient.float(), self.experts.shape[-1])

        return _on_output(caught)


def _on_output(caught):
    """A hook that passes on the gradient at a module's output."""

    def hook(_module, _taken, found):
        if found.requires_grad:
            found.register_hook(caught)

    return hook
