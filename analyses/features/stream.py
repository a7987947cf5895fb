"""A stream of states: the rows that a dictionary learns from, read from traces on disk and never held whole.

Traces are recorded model by model (`probe.record(…, store=…)`) over the same examples, at the same places. A stream
reads them side by side, a block of examples at a time, and hands out rows (one place of one example; model × feature).
Training needs rows in random order, and the same rows again when it resumes. So an epoch takes blocks in an order drawn
from the seed and the epoch's number, a pool of them at a time, and shuffles the pool's rows. Which rows step s sees
follows from the seed and s alone, and resuming reads only the blocks that it needs.

    stream = Stream.of_traces([["ioi-ar.zarr", "ioi-diffusion.zarr"], …])
    for rows in stream.batches(512, seed=0, first=1200): …          # from step 1200 on, without end
    for number, rows in stream.blocks(): …                          # all, once, in order

It holds POOL blocks at a time: 16 × 128 examples of 20 places of two models with d = 128 are 42 MB.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from probe.errors import ProbeError
from probe.tracing import open_trace

if TYPE_CHECKING:
    import xarray

BLOCK = 128  # examples read together
POOL = 16  # blocks whose rows are shuffled together


class Stream(ABC):
    """Blocks of rows, which all have the same models and features."""

    @property
    @abstractmethod
    def sizes(self) -> list[int]:
        """The rows of every block."""

    @abstractmethod
    def read(self, block: int) -> Tensor:
        """A block's rows: row × model × feature."""

    @property
    @abstractmethod
    def mark(self) -> str:
        """A mark by which a resumed training recognises its stream."""

    @staticmethod
    def of_traces(parts: Sequence[Sequence[str | Path]], site: str = "resid_post", block: int = BLOCK) -> Stream:
        """A stream of traces on disk: `parts` has a trace of each model for each task, over the same examples and
        places."""
        return _Traces(tuple(tuple(map(Path, part)) for part in parts), site, block)

    @staticmethod
    def of_tensor(rows: Tensor, block: int = 1024) -> Stream:
        """A stream of rows in memory: row × model × feature."""
        return _Rows(rows, block)

    def __len__(self) -> int:
        return sum(self.sizes)

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """Every block once, in order, with its number."""
        return ((number, self.read(number)) for number in range(len(self.sizes)))

    def batches(self, rows: int, *, seed: int = 0, first: int = 0) -> Iterator[Tensor]:
        """Batches of so many rows without end, from the step `first` on. What is left of a pool begins the next one."""
        skip, left = first * rows, None
        for pool, order in self._pools(seed):
            count = sum(self.sizes[block] for block in pool)
            if skip >= count:
                skip -= count
                continue
            whole = torch.cat([self.read(block) for block in pool])[order]
            fresh, skip = whole[skip:], 0
            waiting = fresh if left is None else torch.cat([left, fresh])
            while len(waiting) >= rows:
                yield waiting[:rows]
                waiting = waiting[rows:]
            left = waiting

    def _pools(self, seed: int) -> Iterator[tuple[list[int], Tensor]]:
        """Which blocks are read together, and the order of their rows; without end."""
        if not len(self):
            raise ProbeError("states to train on", expected="at least one row", found="none", remedy="Record some.")
        epoch = 0
        while True:
            generator = torch.Generator().manual_seed((seed << 20) + epoch)
            order = torch.randperm(len(self.sizes), generator=generator).tolist()
            for at in range(0, len(order), POOL):
                pool = order[at : at + POOL]
                count = sum(self.sizes[block] for block in pool)
                yield pool, torch.randperm(count, generator=generator)
            epoch += 1


@dataclass(frozen=True, eq=False)
class _Rows(Stream):
    rows: Tensor
    block: int

    @property
    def sizes(self) -> list[int]:
        return [min(self.block, len(self.rows) - at) for at in range(0, len(self.rows), self.block)]

    def read(self, block: int) -> Tensor:
        return self.rows[block * self.block : (block + 1) * self.block]

    @property
    def mark(self) -> str:
        return f"{tuple(self.rows.shape)} rows of sum {float(self.rows.double().sum()):.9g}"


@dataclass(frozen=True)
class _Traces(Stream):
    parts: tuple[tuple[Path, ...], ...]
    site: str
    block: int

    @cached_property
    def opened(self) -> list[list[xarray.Dataset]]:
        found = [[open_trace(path, verify=False) for path in part] for part in self.parts]
        for part in found:
            shapes = {tuple(one[self.site].shape) for one in part}
            if len(shapes) != 1 or len(part) != len(found[0]):
                raise ProbeError("traces to train on", expected="the same examples and places of every model",
                                 found="; ".join(map(str, sorted(shapes))),
                                 remedy="Record each model over the same batch.")  # fmt: skip
        return found

    @cached_property
    def places(self) -> list[tuple[int, int, int]]:
        """Of every block its part, and its examples from and to."""
        return [
            (number, at, min(at + self.block, part[0].sizes["example"]))
            for number, part in enumerate(self.opened)
            for at in range(0, part[0].sizes["example"], self.block)
        ]

    @cached_property
    def _each(self) -> list[int]:
        """Rows an example, of each part."""
        return [int(np.prod(part[0][self.site].shape[1:-1])) for part in self.opened]

    @property
    def sizes(self) -> list[int]:
        return [(stop - start) * self._each[part] for part, start, stop in self.places]

    def read(self, block: int) -> Tensor:
        part, start, stop = self.places[block]
        some = [trace[self.site].isel(example=slice(start, stop)).values for trace in self.opened[part]]
        flat = [torch.from_numpy(values).flatten(0, -2).float() for values in some]
        return torch.stack(flat, 1)

    @property
    def mark(self) -> str:
        return " ".join(trace.attrs["fingerprint"] for part in self.opened for trace in part)
