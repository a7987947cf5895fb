"""Traces in memory: batches of examples are combined without a second copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from probe.tracing.selection import ABSENT
from probe.tracing.trace import Labelled, Region, dataset

if TYPE_CHECKING:
    import xarray


class Memory:
    """A trace being assembled.

    Without steps, the shape of the whole is known from the first view of each site: it is allocated at once, and the
    recorder writes into it. Decoding runs are joined at the end.
    """

    def __init__(self, examples: int, dtype: torch.dtype, *, stepped: bool):
        self.examples, self.dtype, self.stepped = examples, dtype, stepped
        self._whole: dict[str, Tensor] = {}
        self._parts: dict[str, list[np.ndarray]] = {}
        self._dims: dict[str, tuple[str, ...]] = {}

    def room(self, name: str, rows: slice, shape: tuple[int, ...]) -> Tensor | None:
        """The part of the whole for some examples, if its shape is known."""
        if self.stepped:
            return None
        if name not in self._whole:
            self._whole[name] = torch.empty((self.examples, *shape[1:]), dtype=self.dtype)
        whole = self._whole[name]
        return whole[rows] if whole.shape[1:] == shape[1:] else None

    def add(self, rows: slice, region: Region) -> None:
        """Keep a region; what the recorder wrote into the whole is already there."""
        for name, (dims, values) in region.items():
            self._dims[name] = dims
            if name not in self._whole:
                self._parts.setdefault(name, []).append(values)

    def dataset(self, labels: Callable[[Region], Region], attributes: dict[str, Any]) -> xarray.Dataset:
        """The trace."""
        found: Region = {
            name: (dims, self._whole[name].numpy() if name in self._whole else _joined(self._parts.pop(name)))
            for name, dims in self._dims.items()
        }
        steps = max((array.shape[dims.index("step")] for dims, array in found.values() if "step" in dims), default=0)
        named: dict[str, Labelled] = labels(found)
        if "step" in named:
            named["step"] = (("step",), named["step"][1][:steps])
        return dataset(found | named, attributes)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Batches of examples as one array; those with fewer steps are padded. The parts are freed."""
    if len(parts) == 1:
        return parts[0]
    sizes = np.array([part.shape for part in parts])
    whole = np.empty((sizes[:, 0].sum(), *sizes[:, 1:].max(axis=0)), dtype=parts[0].dtype)
    at = 0
    while parts:
        part = parts.pop(0)
        if part.shape[1:] != whole.shape[1:]:
            whole[at : at + len(part)] = np.nan if whole.dtype.kind == "f" else ABSENT
        whole[(slice(at, at + len(part)), *(slice(0, size) for size in part.shape[1:]))] = part
        at += len(part)
    return whole
