"""Edge scores: node outputs times input gradients, summed over positions, a few positions at a time.

Both are stored in compact form (see `node_outputs` and `input_gradients`), and expanded to the width of the residual
stream for one tile of positions at a time. A tile has a fixed number of bytes, so memory does not grow with rows, heads
or layers. All sources before a layer are multiplied by all targets of that layer in one matrix product over position ×
feature.

A tile holds positions of one role only, and of one example only if the scores of single examples are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from numpy.typing import NDArray
from torch import Tensor

from analyses.circuits.attribution.input_gradients import InputGradients
from analyses.circuits.graph import Graph
from probe.models.norms import Norm

if TYPE_CHECKING:
    from probe.models.model import Model

TILE = {"cpu": 96 << 20, "cuda": 512 << 20}  # bytes
WIDE = 48  # targets in one product, at least

Point = tuple[int, Tensor, Tensor]  # a layer, its stream x and its r c, at one point of the path


@dataclass(frozen=True, eq=False)
class Tile:
    """Positions (numbers into rows × slots) that are multiplied together, and where their scores go."""

    tokens: slice | Tensor
    role: int
    row: int  # in this chunk; 0 if rows are summed


@dataclass(eq=False)
class Scoring:
    """Partial scores of some rows: (rows or 1, sources, roles, targets before roles)."""

    graph: Graph
    model: Model
    position_roles: Tensor | None  # (rows, slots), the role of each position
    rows: int
    slots: int
    by_row: bool = False
    sources: slice | None = None  # which of them; None is all

    def __post_init__(self) -> None:
        self.chosen = self.sources or slice(0, len(self.graph.sources))
        self.start, self.count = self.chosen.start, self.chosen.stop - self.chosen.start
        shape = (self.rows if self.by_row else 1, self.count, max(1, len(self.graph.position_roles)), self.width)
        self.scores = torch.zeros(shape, dtype=torch.float32, device=self.model.device)

    @property
    def width(self) -> int:
        return len(self.graph.layer_targets)

    def take_up(self, gradients: InputGradients, *, last: bool) -> None:
        """Add the contribution of the held points of the path; with the last, also that of the sums over all points."""
        held, gradients.held = gradients.held, []
        points = [(layer, x, bend) for point in held for layer, (x, bend) in point.items()]
        for tile in self.tiles():
            outputs = gradients.delta.spread(self.model, tile.tokens, self.chosen)
            into = self.scores[tile.row, :, tile.role]
            if points:
                self._bend(into, outputs, points, tile, gradients.projections[points[0][0]].norm)
            if last:
                self._straighten(into, outputs, gradients, tile)
        if last:
            self.scores *= torch.as_tensor(self._valid, device=self.scores.device)

    def _bend(self, into: Tensor, outputs: Tensor, points: list[Point], tile: Tile, norm: Norm) -> None:
        """The second term of the norms (see `input_gradients`), at several points of the path in one product."""
        streams = torch.stack([_flat(x)[tile.tokens].float() for _, x, _ in points], dim=-1)
        along = torch.bmm(outputs.transpose(0, 1), norm.centre_(streams, dim=1))  # (tokens, sources, points)
        for at, (layer, _, bend) in enumerate(points):
            before = self._before(layer)
            into[:before, self.graph.qkv_targets(layer)] -= along[:, :before, at].T @ _flat(bend)[tile.tokens]

    def _straighten(self, into: Tensor, outputs: Tensor, gradients: InputGradients, tile: Tile) -> None:
        """The first term, and MLPs and logits, of the whole path: several layers' targets in one product.

        Cells that are not edges are cleared at the end.
        """
        for layers in self._groups():
            before = self._before(layers[-1], mlp=True)
            columns = slice(self.graph.qkv_targets(layers[0]).start, self.graph.mlp_target(layers[-1]) + 1)
            wide = outputs.new_empty(columns.stop - columns.start, *outputs.shape[1:])
            for layer in layers:
                first = self.graph.qkv_targets(layer).start - columns.start
                gradients.projections[layer].widen(_flat(gradients.heads[layer])[tile.tokens], wide[first:])
                wide[self.graph.mlp_target(layer) - columns.start] = _flat(gradients.mlps[layer])[tile.tokens]
            into[:before, columns] += _product(outputs[:before], wide)
            del wide  # before the next is made
        into[:, -1:] += _product(outputs, _flat(gradients.logits)[tile.tokens][None])

    def _groups(self) -> list[range]:
        """Neighbouring layers, as many as make a product wide enough to be fast."""
        size = -(-WIDE // (self.graph.qkv_per_layer + 1))
        layers = range(self.model.n_layers)
        return [layers[start : start + size] for start in range(0, len(layers), size)]

    @property
    def _valid(self) -> NDArray:
        """The graph's edges, before roles: (sources, 1, targets)."""
        return self.graph.valid[self.chosen, None, : self.width]

    def tiles(self) -> Iterator[Tile]:
        """Every position once."""
        size = self._tokens_of_a_tile()
        whole = torch.arange(self.rows * self.slots)
        role_of = None if self.position_roles is None else self.position_roles.flatten().cpu()
        groups = whole.view(self.rows, self.slots) if self.by_row else whole[None]
        for row, tokens in enumerate(groups):
            for role in range(max(1, len(self.graph.position_roles))):
                mine = tokens if role_of is None else tokens[role_of[tokens] == role]
                for part in mine.split(size):
                    yield Tile(_as_slice(part, self.model.device), role, row)

    def _before(self, layer: int, *, mlp: bool = False) -> int:
        """How many of the sources come before a layer's attention, or before its MLP."""
        heads = self.graph.head_sources(layer)
        return min(max((heads.stop if mlp else heads.start) - self.start, 0), self.count)

    def _tokens_of_a_tile(self) -> int:
        width = self.model.d_model * (self.count + WIDE + self.graph.qkv_per_layer)
        return max(1, TILE.get(self.model.device.type, TILE["cpu"]) // (4 * width))


def _product(outputs: Tensor, inputs: Tensor) -> Tensor:
    """(sources, targets) from (sources, tokens, feature) and (targets, tokens, feature)."""
    return outputs.flatten(1) @ inputs.flatten(1).T


def _flat(found: Tensor) -> Tensor:
    return found.flatten(0, 1)


def _as_slice(tokens: Tensor, device: torch.device) -> slice | Tensor:
    """Consecutive indices as a slice, which copies nothing."""
    if len(tokens) and bool((tokens.diff() == 1).all()):
        return slice(int(tokens[0]), int(tokens[-1]) + 1)
    return tokens.to(device)
