"""Edge scores: writes times reads, summed over positions, a few positions at a time.

Both sides are kept narrow (`writes`, `reads`), and are spread to the width of the residual stream for one tile of
positions after the other. A tile's size is a number of bytes, so memory does not grow with rows, heads or layers. All
sources before a layer are multiplied by all of that layer's targets in one matrix product over position × feature.

A tile never mixes what is to be told apart: roles of positions, and, where the scores of single examples are wanted,
examples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from analyses.circuits.graph import Graph
from analyses.circuits.reads import Reads

if TYPE_CHECKING:
    from probe.models.model import Model

TILE = {"cpu": 48 << 20, "cuda": 512 << 20}  # bytes


@dataclass(frozen=True, eq=False)
class Tile:
    """Positions (numbers into rows × slots) that are multiplied together, and where their scores go."""

    tokens: slice | Tensor
    role: int
    row: int  # of the rows at hand; 0 where they are summed


@dataclass(eq=False)
class Scoring:
    """Scores of some rows in the making: (rows or 1, sources, roles, targets before roles)."""

    graph: Graph
    model: Model
    roles: Tensor | None  # (rows, slots), the role of each position
    rows: int
    slots: int
    by_row: bool = False
    sources: slice | None = None  # which of them; None is all

    def __post_init__(self) -> None:
        self.chosen = self.sources or slice(0, len(self.graph.sources))
        self.start, self.count = self.chosen.start, self.chosen.stop - self.chosen.start
        shape = (self.rows if self.by_row else 1, self.count, max(1, len(self.graph.roles)), self.width)
        self.scores = torch.zeros(shape, dtype=torch.float32, device=self.model.device)

    @property
    def width(self) -> int:
        return len(self.graph.layer_targets)

    def bend(self, reads: Reads) -> None:
        """The second term of the norms at the point of the path at hand (see `reads`)."""
        layers = [layer for layer in range(self.model.n_layers) if reads.bends[layer] is not None]
        if not layers:
            return
        streams = [_flat(reads.streams[layer]) for layer in layers]
        bends = [_flat(reads.bends[layer]) for layer in layers]
        for tile in self.tiles():
            writes = self._writes(reads, tile)
            stream = torch.stack([x[tile.tokens].float() for x in streams], dim=-1)
            along = torch.bmm(writes.transpose(0, 1), stream)  # (tokens, sources, layers)
            into = self.scores[tile.row, :, tile.role]
            for at, layer in enumerate(layers):
                before = self._before(layer)
                into[:before, self.graph.reads(layer)] -= along[:, :before, at].T @ bends[at][tile.tokens]
        reads.streams, reads.bends = [None] * self.model.n_layers, [None] * self.model.n_layers

    def straighten(self, reads: Reads) -> None:
        """The first term, and MLPs and logits, of the whole path."""
        for tile in self.tiles():
            writes = self._writes(reads, tile)
            into = self.scores[tile.row, :, tile.role]
            for layer, reader in enumerate(reads.readers):
                before, first = self._before(layer), self.graph.reads(layer).start
                for heads, wide in reader.wide(_flat(reads.heads[layer])[tile.tokens]):
                    into[:before, first + heads.start : first + heads.stop] += _product(writes[:before], wide)
                before, at = self._before(layer, mlp=True), self.graph.read_of_mlp(layer)
                into[:before, at : at + 1] += _product(writes[:before], _flat(reads.mlps[layer])[tile.tokens][None])
            into[:, -1:] += _product(writes, _flat(reads.logits)[tile.tokens][None])

    def tiles(self) -> Iterator[Tile]:
        """Every position once."""
        size = self._tokens_of_a_tile()
        whole = torch.arange(self.rows * self.slots)
        role_of = None if self.roles is None else self.roles.flatten().cpu()
        groups = whole.view(self.rows, self.slots) if self.by_row else whole[None]
        for row, tokens in enumerate(groups):
            for role in range(max(1, len(self.graph.roles))):
                mine = tokens if role_of is None else tokens[role_of[tokens] == role]
                for part in mine.split(size):
                    yield Tile(_as_slice(part, self.model.device), role, row)

    def _writes(self, reads: Reads, tile: Tile) -> Tensor:
        writes = reads.delta.spread(self.model, tile.tokens, self.chosen)
        return reads.readers[0].norm.centre_(writes)

    def _before(self, layer: int, *, mlp: bool = False) -> int:
        """How many of the sources at hand come before a layer's attention, or before its MLP."""
        writes = self.graph.writes(layer)
        return min(max((writes.stop if mlp else writes.start) - self.start, 0), self.count)

    def _tokens_of_a_tile(self) -> int:
        width = self.model.d_model * (self.count + self.graph.reads_per_layer)
        return max(1, TILE.get(self.model.device.type, TILE["cpu"]) // (4 * width))


def _product(writes: Tensor, reads: Tensor) -> Tensor:
    """(sources, targets) from (sources, tokens, feature) and (targets, tokens, feature)."""
    return writes.flatten(1) @ reads.flatten(1).T


def _flat(found: Tensor | None) -> Tensor:
    assert found is not None
    return found.flatten(0, 1)


def _as_slice(tokens: Tensor, device: torch.device) -> slice | Tensor:
    """Neighbours as a slice, which copies nothing."""
    if len(tokens) and bool((tokens.diff() == 1).all()):
        return slice(int(tokens[0]), int(tokens[-1]) + 1)
    return tokens.to(device)
