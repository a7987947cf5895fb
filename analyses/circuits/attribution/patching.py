"""Patching: forward passes in which some edges carry their activation from another run.

A circuit runs alone if every edge outside of it is patched. The input of a target v is then

    in_v  =  x  -  Σ_{u → v outside} (z_u - z'_u)

with x the residual stream of this run, z_u the output of u in it, and z'_u its replacement (the corrupt output, or that
of another ablation). So the run is the model's own, and only the sum is subtracted: before an MLP's norm and the final
norm, and before the attention norm for each head's query, key and value. For all targets of a layer that is one matrix
product of the mask of outside edges with the differences so far. A target without outside edges is unchanged.

Many circuits share one pass, each with its own copy of the rows: the masks have an axis for circuits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from analyses.circuits.attribution import key_directions
from analyses.circuits.attribution.node_outputs import NodeOutputs
from analyses.circuits.attribution.qkv_projections import Piece, QKVProjections
from analyses.circuits.graph import Graph
from probe.models.scope import Scope
from probe.models.weights import bias_of
from probe.models.writes import Writes
from probe.paradigms.canvas import Canvas
from probe.tracing.sites import output_weight, site

if TYPE_CHECKING:
    from probe.models.model import Model


@torch.no_grad()
def isolated_run(
    model: Model, graph: Graph, canvas: Canvas, instead: NodeOutputs, kept: Tensor, position_roles: Tensor | None
) -> Tensor:
    """The final norm's output (circuits · rows, slots, feature) of circuits that run alone.

    `kept` is (circuits, sources, targets). For a graph with position roles, `position_roles` (rows, slots) says which
    role each position has.
    """
    circuits, rows = len(kept), len(canvas)
    run = _Run(model, graph, instead, kept, position_roles)
    with run.patched(), run.parted(canvas):
        return model.run_trunk(canvas[torch.arange(rows, device=canvas.tokens.device).repeat(circuits)])


class _Run:
    """One pass: which edges are patched, and the outputs so far."""

    def __init__(self, model: Model, graph: Graph, instead: NodeOutputs, kept: Tensor, position_roles: Tensor | None):
        self.model, self.graph, self.instead = model, graph, instead
        rows, self.slots, self.width = instead.embed.shape
        self.tokens = rows * self.slots
        outside = ~kept.to(instead.embed.device) & torch.as_tensor(graph.valid, device=instead.embed.device)
        self.outside = outside.unflatten(
            -1, (max(1, len(graph.position_roles)), -1)
        ).float()  # circuit, source, role, target
        self.position_roles = None if position_roles is None else position_roles.flatten().to(instead.embed.device)
        self.patched_targets = outside.unflatten(-1, (max(1, len(graph.position_roles)), -1)).any(2).any(1).any(0).cpu()
        wanted = outside.any(2).any(0).cpu()
        self.wanted = wanted.nonzero()[:, 0].tolist()  # the sources with an edge outside; only these are kept
        self.differences = instead.embed.new_zeros(len(kept), len(self.wanted), self.tokens, self.width)
        self.place = {source: at for at, source in enumerate(self.wanted)}
        self.outside = self.outside[:, self.wanted]
        self.projected: dict[int, Tensor] = {}
        self.projections = [
            QKVProjections.of(model, layer, directions=graph.directions) for layer in range(model.n_layers)
        ]

    @contextmanager
    def patched(self) -> Iterator[None]:
        model, layout = self.model, self.model.layout
        with Scope() as scope, ExitStack() as hooks:

            def before(module: nn.Module, hook) -> None:
                hooks.callback(module.register_forward_pre_hook(scope.owned(hook)).remove)

            def after(module: nn.Module, hook) -> None:
                hooks.callback(module.register_forward_hook(scope.owned(hook)).remove)

            after(model.embed_write, self._embedded)
            for layer, block in enumerate(model.blocks):
                if self.patched_targets[self.graph.qkv_targets(layer)].any():
                    projections = self.projections[layer]
                    before(layout.of_block(block, "attention_read"), self._project(layer, projections))
                    for module in projections.modules:
                        after(module, self._hand_out(layer, projections.of_module(module)))
                before(site("z").module(model, layer), self._heads_written(layer))
                before(layout.of_block(block, "mlp_read"), self._shift(self.graph.mlp_target(layer)))
                after(site("mlp_out").module(model, layer), self._mlp_written(layer))
            before(layout.part(model.backbone, "final_norm"), self._shift(len(self.patched_targets) - 1))
            yield

    def _missing(self, targets: slice) -> Tensor:
        """What is subtracted from the targets' inputs: (circuits, targets, tokens, feature)."""
        before = int(self.graph.before[targets.start])
        known = sum(source < before for source in self.wanted)
        differences = self.differences[:, :known]
        circuits, count = len(differences), targets.stop - targets.start
        missing = differences.new_zeros(circuits, count, self.tokens, self.width)
        for role in range(self.outside.shape[2]):
            share = self.outside[:, :known, role, targets].transpose(1, 2)
            if self.position_roles is None:
                torch.bmm(share, differences.flatten(2), out=missing.flatten(2))
                continue
            mine = (self.position_roles == role).nonzero()[:, 0]
            missing[:, :, mine] = torch.bmm(share, differences[:, :, mine].flatten(2)).unflatten(-1, (-1, self.width))
        return missing

    def _project(self, layer: int, projections: QKVProjections):
        """Queries, keys and values, each from its own target's input."""

        def hook(_module, taken: tuple) -> None:
            stream = taken[0]
            missing = self._missing(self.graph.qkv_targets(layer))
            read = stream.view(len(missing), 1, self.tokens, -1).to(missing) - missing
            seen = (
                projections.normed(read.to(stream.dtype)).transpose(0, 1).flatten(1, 2)
            )  # target, circuits · tokens, …
            columns = []
            for piece in projections.pieces:
                weight = piece.weight.unflatten(1, (-1, projections.d_head)).transpose(0, 1)
                found = torch.bmm(seen[piece.heads(projections.d_head)], weight).transpose(0, 1).flatten(1)
                bias = bias_of(piece.module)
                columns.append(found if bias is None else found + bias[piece.columns])
            self.projected[layer] = torch.cat(columns, dim=-1).view(*stream.shape[:2], -1)

        return hook

    def _hand_out(self, layer: int, pieces: list[Piece]):
        """A projection's replaced output; GPT-2's copies go straight to the attention."""
        handed = [piece for piece in pieces if not (piece.copy and self.projections[layer].copied_inside)]

        def hook(_module, _taken, found: Tensor) -> Tensor:
            if not self.model.layout.fused:
                return torch.cat([self.projected[layer][..., piece.part] for piece in handed], dim=-1)
            put_out = found.new_zeros(*found.shape[:-1], found.shape[-1] * len(handed))
            for turn, piece in enumerate(handed):
                whole = put_out.narrow(-1, turn * found.shape[-1], found.shape[-1])
                whole[..., piece.columns] = self.projected[layer][..., piece.part].to(found)
            return put_out

        return hook

    @contextmanager
    def parted(self, canvas: Canvas) -> Iterator[None]:
        """If the graph has directions, keys and values in two copies."""
        if not self.graph.directions:
            yield
            return
        with (
            key_directions.parted(self.model, canvas, copies=len(self.differences)) as sides,
            Scope() as scope,
            ExitStack() as hooks,
        ):
            for layer, side in enumerate(sides):
                if side.split is not None and self.patched_targets[self.graph.qkv_targets(layer)].any():
                    side.split = partial(self._split, layer)
                elif side.split is None and not self.patched_targets[self.graph.qkv_targets(layer)].any():
                    parts = [self.model.layout.of_block(self.model.blocks[layer], name) for name in ("key", "value")]
                    for module in dict.fromkeys(parts):  # not patched: the copies are equal
                        hooks.callback(module.register_forward_hook(scope.owned(_twice)).remove)
            yield

    def _split(self, layer: int, key: Tensor, value: Tensor) -> tuple[key_directions.Copies, key_directions.Copies]:
        copies = [piece for piece in self.projections[layer].pieces if piece.copy]
        right = self.projected[layer][..., copies[0].part].unflatten(-1, (2, *key.shape[1::2])).permute(2, 0, 3, 1, 4)
        return (key, right[0]), (value, right[1])

    def _shift(self, target: int):
        """An MLP's or the logits' input, minus the differences of patched edges."""

        def hook(_module, taken: tuple) -> tuple | None:
            if not self.patched_targets[target]:
                return None
            missing = self._missing(slice(target, target + 1))[:, 0].view(taken[0].shape)
            return ((taken[0].to(missing) - missing).to(taken[0].dtype), *taken[1:])

        return hook

    def _embedded(self, _module, _taken, found: Tensor) -> None:
        if 0 in self.place:
            self.differences[:, self.place[0]] = self._difference(found, self.instead.embed)

    def _mlp_written(self, layer: int):
        source = self.graph.head_sources(layer).stop

        def hook(_module, _taken, found: Tensor) -> None:
            if source in self.place:
                self.differences[:, self.place[source]] = self._difference(found, self.instead.mlps[layer])

        return hook

    def _heads_written(self, layer: int):
        at = self.graph.head_sources(layer)
        heads = [source - at.start for source in self.wanted if at.start <= source < at.stop]

        def hook(_module, taken: tuple) -> None:
            self.projected.pop(layer, None)
            if not heads:
                return
            z = Writes.of_heads(self.model, layer).scaled(taken[0])
            change = self._difference(z, self.instead.heads[layer]).unflatten(-1, (self.model.n_heads, -1))
            weight = output_weight(self.model, layer)[heads].to(change)
            first = self.place[at.start + heads[0]]
            into = self.differences[:, first : first + len(heads)]
            into.copy_(torch.einsum("cthf,hfd->chtd", change[:, :, heads], weight))

        return hook

    def _difference(self, found: Tensor, instead: Tensor) -> Tensor:
        """(circuits, tokens, …): a source's output here, minus its replacement."""
        return found.float().view(-1, self.tokens, found.shape[-1]) - instead.flatten(0, 1)


def _twice(_module, _taken, found: Tensor) -> Tensor:
    return torch.cat([found, found], dim=-1)
