"""The selection of a recording: which layers, heads, and slots of a canvas.

Positions are those of the text. If the canvas is the text, a position is its slot. With FLUID's inserted copies, the
two copies of block training, or padding, a position selects every slot that has it, the text's own first, and examples
with fewer of them are padded with `ABSENT`.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from probe.errors import TraceError
from probe.paradigms.canvas import Canvas
from probe.tracing.sites import Site, rank, site, size_of

if TYPE_CHECKING:
    from probe.models.model import Model

ABSENT = -1  # in place of a slot that an example does not have

Positions = Sequence[int] | Tensor | np.ndarray | int


@dataclass(frozen=True)
class Selection:
    """Sites, layers, heads and positions, checked against a model."""

    sites: tuple[Site, ...]
    layers: tuple[int, ...]
    heads: tuple[int, ...] | None  # query heads; None is all
    kv_heads: tuple[int, ...] | None  # the key and value heads that those use
    positions: Tensor | None  # (k) or (example, k); None is every slot
    positions_are_slots: bool = False

    @classmethod
    def of(
        cls,
        model: Model,
        sites: str | Iterable[str],
        layers: int | Iterable[int] | None = None,
        heads: int | Iterable[int] | None = None,
        positions: Tensor | None = None,
        positions_are_slots: bool = False,
    ) -> Selection:
        names = dict.fromkeys([sites] if isinstance(sites, str) else sites if isinstance(sites, Iterable) else ())
        if not names:
            raise TraceError(
                "sites",
                expected="at least one site",
                found="none" if isinstance(sites, Iterable) else type(sites).__name__,
                remedy="Name what to record.",
            )
        chosen = None if heads is None else checked_indices("head", heads, model.n_heads)
        group = model.n_heads // model.n_kv_heads
        return cls(
            sites=tuple(sorted((site(name) for name in names), key=lambda one: rank(one.name))),
            layers=checked_indices("layer", range(model.n_layers) if layers is None else layers, model.n_layers),
            heads=chosen,
            kv_heads=None if chosen is None else tuple(dict.fromkeys(head // group for head in chosen)),
            positions=positions,
            positions_are_slots=positions_are_slots,
        )

    def has(self, name: str) -> bool:
        return any(one.name == name for one in self.sites)

    def in_place_of(self, name: str, instead: str) -> Selection:
        """The same, with one site replaced by another."""
        names = dict.fromkeys(instead if one.name == name else one.name for one in self.sites)
        return replace(self, sites=tuple(sorted((site(one) for one in names), key=lambda one: rank(one.name))))

    def heads_at(self, one: Site) -> tuple[int, ...] | None:
        return {"head": self.heads, "kv_head": self.kv_heads, None: None}[one.heads]

    def layers_at(self, one: Site) -> tuple[int, ...]:
        """The layers of a site; a site that a model has once is reached at its first or last layer."""
        return self.layers if one.layered else (0,)

    def shape(self, model: Model, one: Site, slots: int) -> tuple[int, ...]:
        """The shape of a site's recording of one example at one step, on a canvas of this many slots."""
        picked = slots if self.positions is None else self.positions.shape[-1]
        heads = self.heads_at(one)
        known = {"position": picked, "query": picked, "key": slots}
        sizes = [
            len(heads) if heads is not None and dim == one.heads else known.get(dim) or size_of(model, dim)
            for dim in one.dims
        ]
        return (*((len(self.layers),) if one.layered else ()), *sizes)


def checked_indices(what: str, given: int | Iterable[int], count: int) -> tuple[int, ...]:
    """Indices from 0, each once; refused if there is no such layer or head."""
    try:
        indices = [given] if isinstance(given, int) else [operator.index(index) for index in given]
    except TypeError:  # no sequence, or one of things that are not whole numbers
        raise TraceError(
            f"{what}s",
            expected=f"whole numbers from 0 to {count - 1}",
            found=repr(given)[:60],
            remedy=f"The model has {count}.",
        ) from None
    resolved = [index + count if index < 0 else index for index in indices]
    wrong = [index for index, found in zip(indices, resolved, strict=True) if not 0 <= found < count]
    if wrong or not resolved or len(set(resolved)) < len(resolved):
        raise TraceError(
            f"{what}s",
            expected=f"different numbers from 0 to {count - 1}",
            found=str(wrong[0]) if wrong else str(indices),
            remedy=f"The model has {count}.",
        )
    return tuple(resolved)


def as_positions(positions: Positions, examples: int, end: int) -> Tensor:
    """Positions as (k), or (example, k), counted from 0; negative ones count from `end`."""
    try:
        tensor = torch.as_tensor([positions] if isinstance(positions, int) else positions)
    except (TypeError, ValueError, RuntimeError):  # of another type, or a number that no tensor holds
        raise TraceError(
            "positions",
            expected=f"a list of numbers, or a tensor of {examples} examples × k",
            found=repr(positions)[:60],
            remedy="Give positions in the text, from 0.",
        ) from None
    if tensor.is_floating_point() or tensor.dim() not in (1, 2) or (tensor.dim() == 2 and len(tensor) != examples):
        raise TraceError(
            "positions",
            expected=f"a list of numbers, or a tensor of {examples} examples × k",
            found=f"{tensor.dtype}, shape {tuple(tensor.shape)}",
            remedy="Give positions in the text, from 0.",
        )
    resolved = torch.where(tensor < 0, tensor + end, tensor).long()
    if resolved.numel() == 0 or int(resolved.min()) < 0 or int(resolved.max()) >= end:
        raise TraceError(
            "positions",
            expected=f"numbers from 0 to {end - 1}",
            found=str(tensor.flatten().tolist()[:8]),
            remedy="Give positions in the text; negative ones count from its end.",
        )
    return resolved


def is_text(canvas: Canvas) -> bool:
    """Whether every slot has its own index as position: nothing inserted, copied or padded."""
    own = torch.arange(canvas.slots, device=canvas.places.device)
    return bool((canvas.places == own).all()) and bool((canvas.block == 0).all())


def slots_at(canvas: Canvas, positions: Tensor) -> Tensor:
    """The slots at `positions`: (k), or (example, k) with ABSENT if an example has none or fewer than others."""
    positions = positions.to(canvas.tokens.device)
    if not is_text(canvas):
        return _standing_at(canvas, positions)
    beyond = positions >= canvas.slots  # not yet reached by an autoregressive run
    return positions.masked_fill(beyond, ABSENT).expand(len(canvas), -1) if beyond.any() else positions


def _standing_at(canvas: Canvas, positions: Tensor) -> Tensor:
    examples = len(canvas)
    wanted = positions.expand(examples, -1)
    at = (canvas.places.expand(examples, -1)[:, None] == wanted[:, :, None]) & _real(canvas)[:, None]
    example, _, slot = at.nonzero(as_tuple=True)  # sorted: by example, by position as asked, by slot
    counts = torch.bincount(example, minlength=examples)
    column = torch.arange(len(example), device=slot.device) - (counts.cumsum(0) - counts)[example]
    slots = torch.full((examples, int(counts.max())), ABSENT, device=slot.device)
    return slots.index_put((example, column), slot)


def _real(canvas: Canvas) -> Tensor:
    """Which slots (example, slot) are not padding. Padding sees only itself, and only padding sees it."""
    allowed = canvas.allowed.expand(len(canvas), -1, -1)
    company = (allowed.sum(1) > 1) | (allowed.sum(2) > 1)
    alone = ~company.any(dim=1, keepdim=True)
    return (company | alone) & (canvas.block.expand(len(canvas), -1) >= 0)


Index = slice | Tensor | None


def as_index(numbers: Sequence[int] | Tensor | None) -> Index:
    """An index for these numbers: everything, a slice for consecutive ones (no copy), else a tensor."""
    if numbers is None:
        return None
    index = torch.as_tensor(numbers)
    if index.dim() == 1 and bool((index.diff() == 1).all()):
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


def pick(view: Tensor, one: Site, heads: Index, slots: Index) -> Tensor:
    """Some heads and slots of a view; ABSENT slots give the first one's values."""
    if heads is not None:
        view = _along(view, 1, heads)
    if slots is None:
        return view
    axis = one.position_axis
    if isinstance(slots, slice) or slots.dim() == 1:
        return _along(view, axis, slots)
    index = slots.clamp(min=0).to(view.device)[(slice(None), *(None,) * (axis - 1), slice(None), None)]
    return view.gather(axis, index.expand(*view.shape[:axis], -1, view.shape[-1]))


def _along(view: Tensor, axis: int, index: slice | Tensor) -> Tensor:
    if isinstance(index, slice):
        return view.narrow(axis, index.start, index.stop - index.start)
    return view.index_select(axis, index.to(view.device))
