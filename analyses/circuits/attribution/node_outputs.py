"""Node outputs: what every source writes to the residual stream, stored as narrow as it is.

A head's write is z_h W_O[h], as wide as the stream, and there are hundreds of heads: held for all of them it would be
hundreds of residual streams. What is kept is z, which for all heads of a layer is about one. `spread` makes the writes
of a few positions at a time, where something is multiplied by them. Where a norm stands behind the output projection, z
is kept times the norm's scale, and W_O has the rest of it (see `probe.models.writes`): what is compared is always what
is added to the stream.

The input's write is the token embedding. A learned position embedding and an output projection's bias belong to no
node: they are the same in every run that is compared here. An MLP's bias is part of what it writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.models.scope import Scope
from probe.models.writes import Writes
from probe.tracing.sites import output_weight, site

if TYPE_CHECKING:
    from probe.models.model import Model
    from probe.paradigms.canvas import Canvas


@dataclass(eq=False)
class NodeOutputs:
    """The sources' writes on some rows (or the differences between two runs' writes), in float32."""

    embed: Tensor  # (rows, slots, feature)
    heads: list[Tensor]  # per layer (rows, slots, heads · head_feature): z, scaled
    mlps: list[Tensor]  # per layer (rows, slots, feature)
    neurons: list[Tensor] | None = None  # per layer (rows, slots, neuron), scaled

    @property
    def tensors(self) -> list[Tensor]:
        return [self.embed, *self.heads, *self.mlps, *(self.neurons or [])]

    def minus_(self, other: NodeOutputs) -> NodeOutputs:
        """These writes less others, in place."""
        for mine, theirs in zip(self.tensors, other.tensors, strict=True):
            mine -= theirs
        return self

    def first_not_finite(self) -> str | None:
        """The first node, in the order of a forward pass, that writes NaN or infinity; None where all is finite."""
        order = [("input", self.embed)]
        for layer, (z, mlp) in enumerate(zip(self.heads, self.mlps, strict=True)):
            order += [(f"the heads of layer {layer}", z), (f"m{layer}", mlp)]
        finite = torch.stack([torch.isfinite(found).all() for _, found in order]).tolist()
        return next((name for (name, _), one in zip(order, finite, strict=True) if not one), None)

    def map(self, change: Callable[[Tensor], Tensor]) -> NodeOutputs:
        neurons = None if self.neurons is None else [change(part) for part in self.neurons]
        return NodeOutputs(change(self.embed), [change(z) for z in self.heads], [change(m) for m in self.mlps], neurons)

    def in_stream(self, model: Model, site: str, layer: int) -> Tensor:
        """What comes into the residual stream at a site: "embed", "attn_out" or "mlp_out"."""
        if site == "attn_out":
            return self.heads[layer] @ output_weight(model, layer).flatten(0, 1).float()
        return self.embed if site == "embed" else self.mlps[layer]

    def total(self, model: Model) -> Tensor:
        """The sum of all sources' writes in the residual stream."""
        total = self.embed.clone()
        for layer in range(model.n_layers):
            total += self.in_stream(model, "attn_out", layer)
            total += self.mlps[layer]
        return total

    def spread(self, model: Model, tokens: slice | Tensor, sources: slice) -> Tensor:
        """Some sources' writes at some positions of the flattened rows: (sources, tokens, feature)."""
        n_heads, start, stop = model.n_heads, sources.start, sources.stop
        at = self.embed.flatten(0, 1)[tokens]
        whole = at.new_empty(stop - start, *at.shape)
        if start == 0:
            whole[0] = at
        for layer in range(model.n_layers):
            first = 1 + layer * (n_heads + 1)
            if not start <= first < stop and not start <= first + n_heads < stop:
                continue
            if start <= first:
                z = self.heads[layer].flatten(0, 1)[tokens].unflatten(-1, (n_heads, -1)).transpose(0, 1)
                weight = output_weight(model, layer).to(z)
                torch.bmm(z, weight, out=whole[first - start : first - start + n_heads])
            if first + n_heads < stop:
                whole[first + n_heads - start] = self.mlps[layer].flatten(0, 1)[tokens]
        return whole


@contextmanager
def recording(model: Model, *, neurons: bool = False) -> Iterator[NodeOutputs]:
    """Outputs that fill up during the forward pass inside the context. The embedding is left to the caller."""
    empty = torch.empty(0)
    filled = NodeOutputs(empty, [empty] * model.n_layers, [empty] * model.n_layers, [] if neurons else None)
    if filled.neurons is not None:
        filled.neurons = [empty] * model.n_layers

    def keep(into: list[Tensor], layer: int, writes: Writes | None = None):
        def hook(_module, taken, given=None):
            found = given if writes is None else writes.scaled(taken[0])
            into[layer] = found.detach().float()

        return hook

    with Scope() as scope, ExitStack() as hooks:
        for layer in range(model.n_layers):
            heads, mlp = Writes.of_heads(model, layer), site("mlp_out").module(model, layer)
            hooks.callback(
                heads.projection.register_forward_pre_hook(scope.owned(keep(filled.heads, layer, heads))).remove
            )
            hooks.callback(mlp.register_forward_hook(scope.owned(keep(filled.mlps, layer))).remove)
            if filled.neurons is not None:
                neurons_ = Writes.of_neurons(model, layer)
                own = scope.owned(keep(filled.neurons, layer, neurons_))
                hooks.callback(neurons_.projection.register_forward_pre_hook(own).remove)
        yield filled


@torch.no_grad()
def outputs_of(model: Model, canvas: Canvas, *, neurons: bool = False) -> tuple[NodeOutputs, Tensor]:
    """Every source's writes on a canvas, and the final norm's output."""
    with recording(model, neurons=neurons) as outputs:
        hidden = model.run_trunk(canvas)
    outputs.embed = model.embedding(canvas.tokens.to(model.device)).float()
    return outputs, hidden
