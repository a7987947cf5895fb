"""Node outputs: every source's output to the residual stream, in compact form.

A head's output is z_h W_O[h], as wide as the stream, so for hundreds of heads it would take hundreds of residual
streams. Instead z is kept, which for all heads of a layer is about as wide as one. `spread` computes the outputs of a
few positions at a time, when they are multiplied. If a norm follows the output projection, z is kept times the norm's
scale, and W_O includes its weights (see `probe.models.writes`), so an output is always what is added to the stream.

The input's output is the token embedding. A learned position embedding and an output projection's bias belong to no
node: they are the same in every run that is compared here. An MLP's bias is part of its output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from probe.errors import ProbeError
from probe.models.scope import Scope
from probe.models.writes import Writes
from probe.tracing.sites import output_weight, site

if TYPE_CHECKING:
    from probe.models.model import Model
    from probe.paradigms.canvas import Canvas


@dataclass(frozen=True, eq=False)
class ExpertWrites:
    """The outputs of the experts that a router chose, choice by choice; all others write nothing. Together they are the
    MLP's output, minus that of an expert that every token shares."""

    chosen: Tensor  # (rows, slots, choices), the number of an expert
    write: Tensor  # (rows, slots, choices, feature)

    @classmethod
    def nobody(cls, like: Tensor) -> ExpertWrites:
        """Of a layer without experts: no choices."""
        none = like.new_zeros(*like.shape[:2], 0, like.shape[-1])
        return cls(none[..., 0].long(), none)

    def less(self, other: ExpertWrites) -> ExpertWrites:
        """The difference, as the choices of both."""
        chosen = torch.cat([self.chosen, other.chosen], dim=2)
        return ExpertWrites(chosen, torch.cat([self.write, -other.write], dim=2))

    def along(self, gradient: Tensor, experts: int) -> Tensor:
        """(rows, experts): each expert's output times the gradient at the MLP's output, over all slots."""
        product = (self.write * gradient[:, :, None]).sum(-1).flatten(1)
        return product.new_zeros(len(product), experts).scatter_add_(1, self.chosen.flatten(1), product)


@dataclass(eq=False)
class NodeOutputs:
    """The sources' outputs on some rows (or the differences between two runs' outputs), in float32."""

    embed: Tensor  # (rows, slots, feature)
    heads: list[Tensor]  # per layer (rows, slots, heads · head_feature): z, scaled
    mlps: list[Tensor]  # per layer (rows, slots, feature)
    neurons: list[Tensor] | None = None  # per layer (rows, slots, neuron), scaled
    experts: list[ExpertWrites] | None = None  # per layer

    @property
    def tensors(self) -> list[Tensor]:
        return [self.embed, *self.heads, *self.mlps, *(self.neurons or [])]

    def minus_(self, other: NodeOutputs) -> NodeOutputs:
        """These outputs minus others, in place."""
        for mine, theirs in zip(self.tensors, other.tensors, strict=True):
            mine -= theirs
        if self.experts is not None and other.experts is not None:
            self.experts = [mine.less(theirs) for mine, theirs in zip(self.experts, other.experts, strict=True)]
        return self

    def first_not_finite(self) -> str | None:
        """The first node, in the order of a forward pass, that writes NaN or infinity; None if all is finite."""
        order = [("input", self.embed)]
        for layer, (z, mlp) in enumerate(zip(self.heads, self.mlps, strict=True)):
            order += [(f"the heads of layer {layer}", z), (f"m{layer}", mlp)]
        finite = torch.stack([torch.isfinite(found).all() for _, found in order]).tolist()
        return next((name for (name, _), one in zip(order, finite, strict=True) if not one), None)

    def map(self, change: Callable[[Tensor], Tensor]) -> NodeOutputs:
        neurons = None if self.neurons is None else [change(part) for part in self.neurons]
        experts = None if self.experts is None else [replace(one, write=change(one.write)) for one in self.experts]
        heads, mlps = [change(z) for z in self.heads], [change(m) for m in self.mlps]
        return NodeOutputs(change(self.embed), heads, mlps, neurons, experts)

    def in_stream(self, model: Model, site: str, layer: int) -> Tensor:
        """What is added to the residual stream at a site: "embed", "attn_out" or "mlp_out"."""
        if site == "attn_out":
            return self.heads[layer] @ output_weight(model, layer).flatten(0, 1).float()
        return self.embed if site == "embed" else self.mlps[layer]

    def total(self, model: Model) -> Tensor:
        """The sum of all sources' outputs in the residual stream."""
        total = self.embed.clone()
        for layer in range(model.n_layers):
            total += self.in_stream(model, "attn_out", layer)
            total += self.mlps[layer]
        return total

    def spread(self, model: Model, tokens: slice | Tensor, sources: slice) -> Tensor:
        """Some sources' outputs at some positions of the flattened rows: (sources, tokens, feature)."""
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
def recording(model: Model, *, neurons: bool = False, experts: bool = False) -> Iterator[NodeOutputs]:
    """Outputs that are filled in by the forward pass inside the context. The caller adds the embedding."""
    empty = torch.empty(0)
    filled = NodeOutputs(empty, [empty] * model.n_layers, [empty] * model.n_layers, [] if neurons else None)
    if filled.neurons is not None:
        site("mlp_hidden").refuse_absent(model)
        filled.neurons = [empty] * model.n_layers

    def keep(into: list[Tensor], layer: int, writes: Writes | None = None):
        def hook(_module, taken, given=None):
            found = given if writes is None else writes.scaled(taken[0])
            assert found is not None  # a forward hook gets the module's output
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
        found: list[ExpertWrites | None] = [None] * model.n_layers
        for layer, mixture in enumerate(mixtures(model) if experts else ()):
            if mixture is not None:
                hooks.callback(mixture.register_forward_pre_hook(scope.owned(_keep_choices(found, layer))).remove)
        yield filled
        if experts:
            rows = zip(found, filled.mlps, strict=True)
            filled.experts = [
                ExpertWrites.nobody(mlp)
                if one is None
                else replace(one, chosen=_by_row(one.chosen, mlp), write=_by_row(one.write, mlp))
                for one, mlp in rows
            ]


def mixtures(model: Model) -> list[nn.Module | None]:
    """Each layer's experts; None where a layer has a plain MLP."""
    path = model.layout.experts
    owners = [block.get_submodule(path.rpartition(".")[0]) if path else None for block in model.blocks]
    return [getattr(owner, path.rpartition(".")[2], None) if path else None for owner in owners]


def experts_of(model: Model) -> int:
    """How many experts a layer's router chooses from."""
    counts = {int(one.num_experts) for one in mixtures(model) if one is not None}  # type: ignore[arg-type]  # a number
    if not counts:
        raise ProbeError(
            f"attribution of {model.name!r} with experts",
            expected="a mixture of experts",
            found=f"{model.layout.model_type}, whose MLPs have none",
            remedy="Attribute with experts=False.",
        )
    return max(counts)


def _keep_choices(found: list[ExpertWrites | None], layer: int):
    """Keep the output of each choice of the router: the stock module runs for one choice at a time."""

    def hook(module: nn.Module, taken: tuple) -> None:
        stream, chosen, weights = taken
        each = [module.forward(stream, chosen[:, k : k + 1], weights[:, k : k + 1]) for k in range(chosen.shape[1])]
        found[layer] = ExpertWrites(chosen.detach(), torch.stack(each, dim=1).detach().float())

    return hook


def _by_row(found: Tensor, like: Tensor) -> Tensor:
    """(rows · slots, …) as (rows, slots, …)."""
    return found.unflatten(0, like.shape[:2])


@torch.no_grad()
def outputs_of(
    model: Model, canvas: Canvas, *, neurons: bool = False, experts: bool = False
) -> tuple[NodeOutputs, Tensor]:
    """Every source's outputs on a canvas, and the final norm's output."""
    with recording(model, neurons=neurons, experts=experts) as outputs:
        hidden = model.run_trunk(canvas)
    outputs.embed = model.embedded(canvas.tokens).float()
    return outputs, hidden
