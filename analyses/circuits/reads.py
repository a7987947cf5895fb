"""The gradient of the metric at every target's input, caught on its way and kept as small as it is.

A target's input is the residual stream *before* the norm, and each head's query, key and value has one of its own: at
full width that is again hundreds of residual streams. But a head's gradient g, at its projection's output, is narrow,
and what lies between is known in closed form (`norms`): with W the projection and x the stream,

    ∂M/∂in_v  =  r · P (γ ∘ W_v g_v)  -  r² · Px · c_v,      c_v = r ⟨q_v - q_0, g_v⟩ / d

where q_v is the projection's own output and q_0 its output for a norm that says 0. So two things are kept: r g, as wide
as the projections, and c, one number a head and position. The first term is linear in r g, with weights that stay the
same along the path of integration: its sum over the path is kept, and multiplied out once, at the end. The second goes
with x, which changes; it is taken up at each point of the path (`Scoring.bend`).

An MLP and the logits have a norm to themselves. They are handed an alias of the stream; the gradient that arrives at
the alias has come through the norm and nothing else.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from analyses.circuits.norms import Norm
from analyses.circuits.writes import Writes

if TYPE_CHECKING:
    from probe.models.model import Model

PROJECTIONS = ("query", "key", "value")


@dataclass(frozen=True, eq=False)
class Reader:
    """An attention layer's projections as one: what they are made of, and where each stands in their joint output."""

    norm: Norm
    modules: tuple[nn.Module, ...]  # one where q, k and v are one projection
    heads: int  # of all of them: queries, keys, values
    d_head: int

    @classmethod
    def of(cls, model: Model, layer: int) -> Reader:
        block = model.blocks[layer]
        names = PROJECTIONS[:1] if model.layout.fused else PROJECTIONS
        return cls(
            Norm.of(model.layout.of_block(block, "attention_norm")),
            tuple(model.layout.of_block(block, name) for name in names),
            model.n_heads + 2 * model.n_kv_heads,
            model.d_head,
        )

    @property
    def width(self) -> int:
        return self.heads * self.d_head

    def parts(self) -> list[slice]:
        """Where each module's output stands among them all."""
        edges = [0]
        for module in self.modules:
            edges.append(edges[-1] + inward(module).shape[1])
        return [slice(a, b) for a, b in itertools.pairwise(edges)]

    def wide(self, narrow: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Gradients at the projections' outputs (tokens, width), at the norm's input but for r and P: for some heads
        at a time, (heads, tokens, feature)."""
        for module, part in zip(self.modules, self.parts(), strict=True):
            heads = slice(part.start // self.d_head, part.stop // self.d_head)
            weight = inward(module).to(narrow).T.unflatten(0, (-1, self.d_head))
            found = torch.bmm(narrow[:, part].unflatten(-1, (-1, self.d_head)).transpose(0, 1), weight)
            yield heads, found if self.norm.gain is None else found.mul_(self.norm.gain)

    @torch.no_grad()
    def at_rest(self) -> Tensor:
        """q_0: what the projections put out where the norm puts out its bias alone."""
        first = self.modules[0]
        weight = inward(first)
        still = weight.new_zeros(weight.shape[0]) if self.norm.bias is None else self.norm.bias
        return torch.cat([module.forward(still[None])[0] for module in self.modules]).float()


def inward(projection: nn.Module) -> Tensor:
    """A projection's weight, (in, out). GPT-2's Conv1D keeps it so; a Linear the other way round."""
    weight: Tensor = projection.weight  # type: ignore[assignment]  # projections are Linears or Conv1Ds
    return weight.T if isinstance(projection, nn.Linear) else weight


class Reads:
    """What the targets of some rows have received so far."""

    def __init__(self, model: Model, delta: Writes):
        rows, slots, _ = delta.embed.shape
        self.model, self.delta = model, delta
        self.readers = [Reader.of(model, layer) for layer in range(model.n_layers)]
        self.rest = [reader.at_rest() for reader in self.readers]
        new = delta.embed.new_zeros
        self.heads = [new(rows, slots, reader.width) for reader in self.readers]  # Σ r g
        self.mlps = [torch.zeros_like(delta.embed) for _ in self.readers]
        self.logits = torch.zeros_like(delta.embed)
        self.nodes = new(rows, 2 + model.n_layers * (model.n_heads + 1))  # sources, then the logits
        self.neurons = None if delta.neurons is None else new(rows, model.n_layers, delta.neurons[0].shape[-1])
        # Of the pass at hand:
        self.streams: list[Tensor | None] = [None] * model.n_layers  # x
        self.bends: list[Tensor | None] = [None] * model.n_layers  # r c, per head

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch the gradients of the forward passes inside the context."""
        model, layout = self.model, self.model.layout
        with ExitStack() as hooks:

            def at(module: nn.Module, before=None, after=None) -> None:
                if before is not None:
                    hooks.callback(module.register_forward_pre_hook(before).remove)
                if after is not None:
                    hooks.callback(module.register_forward_hook(after).remove)

            for layer, (block, reader) in enumerate(zip(model.blocks, self.readers, strict=True)):
                at(layout.of_block(block, "attention_norm"), before=self._stream(layer))
                for module, part in zip(reader.modules, reader.parts(), strict=True):
                    at(module, after=self._projection(layer, part))
                at(layout.of_block(block, "mlp_norm"), before=self._alias(self.mlps[layer]))
                at(layout.of_block(block, "output"), before=self._head_writes(layer))
                at(layout.of_block(block, "mlp_down"), self._neuron_writes(layer), self._mlp_writes(layer))
            at(model.embedding, after=_on_output(self._input_write))
            at(layout.part(model.backbone, "final_norm"), before=self._alias(self.logits))
            yield

    def finish(self, change: Tensor) -> None:
        """The logits' own score: what arrives there of a change of the stream."""
        self.nodes[:, -1] = (self.logits * change).sum((1, 2))

    def _stream(self, layer: int):
        def hook(_module, taken):
            if taken[0].requires_grad:
                self.streams[layer] = taken[0].detach()

        return hook

    def _projection(self, layer: int, part: slice):
        reader, rest = self.readers[layer], self.rest[layer][part]
        heads = slice(part.start // reader.d_head, part.stop // reader.d_head)

        def hook(_module, _taken, found):
            if not found.requires_grad:
                return
            put_out = found.detach()

            def caught(gradient: Tensor) -> None:
                stream = self.streams[layer]
                assert stream is not None
                gradient = gradient.float()
                scale = reader.norm.scale(stream)[..., None]
                self.heads[layer][..., part].addcmul_(gradient, scale)
                if reader.norm.present:
                    product = (put_out.float() - rest).mul_(gradient).unflatten(-1, (-1, reader.d_head)).sum(-1)
                    self._bend(layer)[..., heads] = product.mul_(scale.square() / stream.shape[-1])

            found.register_hook(caught)

        return hook

    def _bend(self, layer: int) -> Tensor:
        bend = self.bends[layer]
        if bend is None:
            bend = self.bends[layer] = self.nodes.new_zeros(*self.delta.embed.shape[:2], self.readers[layer].heads)
        return bend

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

        def caught(gradient: Tensor) -> None:
            product = (gradient * self.delta.heads[layer]).unflatten(-1, (self.model.n_heads, -1))
            self.nodes[:, columns] += product.sum((1, 3))

        return _on_input(caught)

    def _mlp_writes(self, layer: int):
        column = (layer + 1) * (self.model.n_heads + 1)

        def caught(gradient: Tensor) -> None:
            self.nodes[:, column] += (gradient * self.delta.mlps[layer]).sum((1, 2))

        return _on_output(caught)

    def _neuron_writes(self, layer: int):
        if self.neurons is None:
            return None
        assert self.delta.neurons is not None
        into, change = self.neurons, self.delta.neurons[layer]

        def caught(gradient: Tensor) -> None:
            into[:, layer] += (gradient * change).sum(1)

        return _on_input(caught)


def _on_input(caught):
    """A hook that hands on the gradient at what a module takes."""

    def hook(_module, taken):
        if taken[0].requires_grad:
            taken[0].register_hook(caught)

    return hook


def _on_output(caught):
    """A hook that hands on the gradient at what a module gives."""

    def hook(_module, _taken, found):
        if found.requires_grad:
            found.register_hook(caught)

    return hook
