"""Changes: the value that an edit puts at a site, and what it may depend on.

Zero · Mean · Resample · Patch · Traced       each gives the replacement of `old`, or is broadcast to it
Add(another, scales)                          the old value plus a multiple of another change's value
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from probe.errors import TraceError
from probe.tracing.sites import Site

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, eq=False)
class Moment:
    """Where an edit is applied: what a change may depend on."""

    site: Site
    layer: int
    turn: int | None  # the layer's index among those of the edit; None if the edit names one layer
    heads: tuple[int, ...] | None
    positions: Tensor | None
    rows: slice | None  # the examples of this forward pass; None is all
    step: int


@dataclass(frozen=True, eq=False)
class Change(ABC):
    """The replacement of `old`, which has the axes of a view; broadcast to it."""

    def values(self) -> list[Tensor]:
        """Identifies this change among those of its class."""
        return []

    def __str__(self) -> str:
        return type(self).__name__.lower()

    @abstractmethod
    def __call__(self, old: Tensor, moment: Moment) -> Tensor: ...


class Zero(Change):
    def __call__(self, old: Tensor, moment: Moment) -> Tensor:
        return torch.zeros_like(old)


class Mean(Change):
    def __call__(self, old: Tensor, moment: Moment) -> Tensor:
        return old.mean(dim=0, keepdim=True)


@dataclass(frozen=True, eq=False)
class Add(Change):
    """The old value plus `scale` times another change's value."""

    what: Change
    scales: tuple[float, ...]  # by step; the last one applies to all later steps

    def values(self) -> list[Tensor]:
        return [*self.what.values(), torch.tensor(self.scales)]

    def __str__(self) -> str:
        return "add" if self.scales == (1,) else f"add ({', '.join(f'{scale:g}' for scale in self.scales)} times)"

    def __call__(self, old: Tensor, moment: Moment) -> Tensor:
        scale = self.scales[min(max(moment.step, 0), len(self.scales) - 1)]
        return old + scale * fitted(self.what(old, moment), old, moment.site, str(self))


@dataclass(frozen=True, eq=False)
class Resample(Change):
    seed: int

    def values(self) -> list[Tensor]:
        return [torch.tensor(self.seed)]

    def __call__(self, old: Tensor, moment: Moment) -> Tensor:
        return old[_other_rows(len(old), self.seed).to(old.device)]


@dataclass(frozen=True, eq=False)
class Patch(Change):
    value: Tensor

    def values(self) -> list[Tensor]:
        return [self.value]

    def __call__(self, old: Tensor, moment: Moment) -> Tensor:
        value = self.value
        if value.dim() == 0:
            return value
        if moment.site.layered and moment.turn is not None and value.dim() > old.dim():
            value = value[:, moment.turn if value.shape[1] > 1 else 0]
        return _these_rows(value, old, moment)


@dataclass(frozen=True, eq=False)
class Traced(Change):
    """A trace's own values, or with a seed those of its other examples."""

    array: xarray.DataArray
    seed: int | None = None

    def values(self) -> list[Tensor]:
        return [torch.tensor(-1 if self.seed is None else self.seed), torch.tensor(self.array.values)]

    def labels(self, axis: str) -> tuple[int, ...] | None:
        """The layers or heads of the trace; None if it has no such coordinate."""
        if axis not in self.array.coords:
            return None
        return tuple(int(label) for label in np.atleast_1d(self.array[axis].values))

    def __call__(self, old: Tensor, moment: Moment) -> Tensor:
        one = moment.site
        axis = one.dims[one.position_axis - 1]
        wanted: dict[str, Any] = {"layer": moment.layer, "step": moment.step}
        if moment.heads is not None and one.heads:
            wanted[one.heads] = list(moment.heads)
        if moment.positions is not None and moment.positions.dim() == 1:
            wanted[axis] = moment.positions.tolist()
        chosen = self.array.sel({name: label for name, label in wanted.items() if name in self.array.dims})
        value = torch.from_numpy(np.ascontiguousarray(chosen.values))
        if self.seed is not None:
            return _from_others(value, old, self.seed)
        return _these_rows(value, old, moment)


def fitted(value: Tensor, old: Tensor, one: Site, what: str) -> Tensor:
    """A value with the dtype, device and shape of the old one; `what` names its edit in the error."""
    value = value.to(old)
    try:
        return value.expand_as(old)
    except RuntimeError:
        raise TraceError(
            f"the value for {what}",
            expected=f"the shape {tuple(old.shape)} (example, {', '.join(one.dims)}), or 1 to broadcast",
            found=str(tuple(value.shape)),
            remedy="Give it the axes of a trace; the layer axis stays when several layers are named.",
        ) from None


def _these_rows(value: Tensor, old: Tensor, moment: Moment) -> Tensor:
    """The part of a value for this forward pass's examples. A value of fewer axes has no example axis."""
    if moment.rows is not None and value.dim() == old.dim() and len(value) not in (1, len(old)):
        return value[moment.rows]
    return value


def _other_rows(count: int, seed: int) -> Tensor:
    """For each example another one, from a seed: a random cycle, without fixed points."""
    if count < 2:
        raise TraceError(
            "resample",
            expected="at least 2 examples in one forward pass",
            found=str(count),
            remedy="Run more of them together, or give it a trace to draw from.",
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return torch.empty_like(order).index_put_((order,), order.roll(1))


def _from_others(value: Tensor, old: Tensor, seed: int) -> Tensor:
    if len(value) == len(old) > 1:
        return value[_other_rows(len(value), seed)]
    drawn = torch.randint(len(value), (len(old),), generator=torch.Generator().manual_seed(seed))
    return value[drawn]
