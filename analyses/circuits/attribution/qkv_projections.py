"""QKV projections: an attention layer's queries, keys and values as one joint output, side by side.

In some architectures one module computes them, in others three; and a graph with directions has keys and values twice.
`QKVProjections` maps each piece of the joint output to a module and columns of its output, in the order of the graph's
targets: queries, keys, values, and then keys and values once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from probe.models.layout import Columns
from probe.models.norms import Norm
from probe.models.weights import inward

if TYPE_CHECKING:
    from probe.models.model import Model


@dataclass(frozen=True, eq=False)
class Piece:
    """Some columns of a module's output, and their place in the joint output."""

    module: nn.Module
    columns: Columns
    part: slice
    copy: bool = False  # of keys or values, for queries on their left

    def heads(self, d_head: int) -> slice:
        return slice(self.part.start // d_head, self.part.stop // d_head)

    @property
    def weight(self) -> Tensor:
        """(feature, columns)."""
        return inward(self.module)[:, self.columns]


@dataclass(frozen=True, eq=False)
class QKVProjections:
    """One layer's norm (None if attention reads the stream without one) and projections."""

    norm_module: nn.Module | None
    norm: Norm
    pieces: tuple[Piece, ...]
    d_head: int
    copied_inside: bool = False  # copies of keys and values are made within the attention (see `key_directions`)

    @classmethod
    def of(cls, model: Model, layer: int, *, directions: bool = False) -> QKVProjections:
        layout, block, columns = model.layout, model.blocks[layer], model.qkv_columns
        queries, others = model.n_heads * model.d_head, model.n_kv_heads * model.d_head
        modules = [layout.of_block(block, name) for name in ("query", "key", "value")]
        widths = (queries, others, others)
        sources: list[tuple[nn.Module, Columns, int]] = list(zip(modules, columns.values(), widths, strict=True))
        copies = sources[1:]
        if layout.fused:
            sources = [(modules[0], _together(list(columns.values())), queries + 2 * others)]
            copies = [(modules[0], _together([columns["k"], columns["v"]]), 2 * others)]
        pieces, at = [], 0
        for copy, found in ((False, sources), *([(True, copies)] if directions else [])):
            for module, which, width in found:
                pieces.append(Piece(module, which, slice(at, at + width), copy))
                at += width
        norm = None if layout.attention_norm is None else layout.of_block(block, "attention_norm")
        return cls(norm, Norm.of(norm), tuple(pieces), model.d_head, layout.fused and not layout.by_head)

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
        """From gradients at the projections' outputs (tokens, width) to the norm's input, without the factor r: P (γ ∘
        W_v g_v), written to the first of `wide` (heads, tokens, feature)."""
        for piece in self.pieces:
            weight = piece.weight.to(narrow)
            weight = weight * self.norm.gain.to(narrow)[:, None] if self.norm.gain is not None else weight.clone()
            back = self.norm.centre_(weight, dim=0).T.unflatten(0, (-1, self.d_head))
            heads = narrow[:, piece.part].unflatten(-1, (-1, self.d_head)).transpose(0, 1)
            torch.bmm(heads, back, out=wide[piece.heads(self.d_head)])

    def normed(self, stream: Tensor) -> Tensor:
        """The projections' input from a stream."""
        return stream if self.norm_module is None else self.norm_module.forward(stream)

    @torch.no_grad()
    def at_rest(self) -> Tensor:
        """q_0: the projections' output if the norm's output is its bias alone."""
        weight = self.pieces[0].weight
        still = weight.new_zeros(weight.shape[0]) if self.norm.offset is None else self.norm.offset
        return torch.cat([piece.module.forward(still[None])[0, piece.columns] for piece in self.pieces]).float()


def _together(columns: list[Columns]) -> Columns:
    """The columns of queries, keys and values, as slices where they are consecutive."""
    if all(isinstance(one, slice) for one in columns):
        return slice(columns[0].start, columns[-1].stop)  # type: ignore[union-attr]  # slices, as was asked
    return torch.cat(columns)  # type: ignore[arg-type]  # numbers: a projection's columns are all of one kind
