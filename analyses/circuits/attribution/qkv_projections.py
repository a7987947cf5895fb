"""QKV projections: an attention layer's queries, keys and values as one joint output, side by side.

In some architectures these come from one module, in others from three; and a graph with directions has keys and values
twice. `QKVProjections` says where each piece of the joint output comes from (a module, and columns of its output), in
the order of the graph's targets: queries, keys, values, and then keys and values once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from analyses.circuits.attribution.norms import Norm
from probe.models.weights import weight_of

if TYPE_CHECKING:
    from probe.models.model import Model


@dataclass(frozen=True, eq=False)
class Piece:
    """Some columns of a module's output, and where they stand among all."""

    module: nn.Module
    columns: slice
    part: slice
    copy: bool = False  # of keys or values, for queries that look from the left

    def heads(self, d_head: int) -> slice:
        return slice(self.part.start // d_head, self.part.stop // d_head)

    @property
    def weight(self) -> Tensor:
        """(feature, columns)."""
        return inward(self.module)[:, self.columns]


@dataclass(frozen=True, eq=False)
class QKVProjections:
    """One layer's norm and projections."""

    norm: Norm
    pieces: tuple[Piece, ...]
    d_head: int

    @classmethod
    def of(cls, model: Model, layer: int, *, directions: bool = False) -> QKVProjections:
        layout, block = model.layout, model.blocks[layer]
        queries, others = model.n_heads * model.d_head, model.n_kv_heads * model.d_head
        if layout.fused:
            sources = [(layout.of_block(block, "query"), slice(0, queries + 2 * others))]
            copies = [(sources[0][0], slice(queries, queries + 2 * others))]
        else:
            widths = {"query": queries, "key": others, "value": others}
            sources = [(layout.of_block(block, name), slice(0, width)) for name, width in widths.items()]
            copies = sources[1:]
        pieces, at = [], 0
        for copy, found in ((False, sources), *([(True, copies)] if directions else [])):
            for module, columns in found:
                width = columns.stop - columns.start
                pieces.append(Piece(module, columns, slice(at, at + width), copy))
                at += width
        return cls(Norm.of(layout.of_block(block, "attention_norm")), tuple(pieces), model.d_head)

    @property
    def width(self) -> int:
        return self.pieces[-1].part.stop

    @property
    def heads(self) -> int:
        return self.width // self.d_head

    @property
    def modules(self) -> list[nn.Module]:
        return list(dict.fromkeys(piece.module for piece in self.pieces))

    def of_module(self, module: nn.Module) -> list[Piece]:
        return [piece for piece in self.pieces if piece.module is module]

    def widen(self, narrow: Tensor, wide: Tensor) -> None:
        """From gradients at the projections' outputs (tokens, width) to the norm's input, but for r: P (γ ∘ W_v g_v),
        into the first of `wide` (heads, tokens, feature)."""
        for piece in self.pieces:
            weight = piece.weight.to(narrow)
            weight = weight * self.norm.gain.to(narrow)[:, None] if self.norm.gain is not None else weight.clone()
            back = self.norm.centre_(weight, dim=0).T.unflatten(0, (-1, self.d_head))
            heads = narrow[:, piece.part].unflatten(-1, (-1, self.d_head)).transpose(0, 1)
            torch.bmm(heads, back, out=wide[piece.heads(self.d_head)])

    @torch.no_grad()
    def at_rest(self) -> Tensor:
        """q_0: what the projections put out where the norm puts out its bias alone."""
        weight = self.pieces[0].weight
        still = weight.new_zeros(weight.shape[0]) if self.norm.offset is None else self.norm.offset
        return torch.cat([piece.module.forward(still[None])[0, piece.columns] for piece in self.pieces]).float()


def inward(projection: nn.Module) -> Tensor:
    """A projection's weight, (in, out). GPT-2's Conv1D keeps it so; a Linear the other way round."""
    weight = weight_of(projection)
    return weight.T if isinstance(projection, nn.Linear) else weight
