"""Batch sizes: as many rows as fit, half as many after an out-of-memory error, and no row twice.

`rows_that_fit` divides the free memory by the estimated size of a row. If a device has less than it reports, a pass
raises; then the size is halved and the same rows are tried again, so results never depend on the size.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from probe.errors import ProbeError
from probe.memory import free_cache, free_memory

log = logging.getLogger("analyses.circuits")

SHARE = 0.6  # of what is free
MOST = {"cpu": 32, "cuda": 256}  # beyond this a pass does not get faster

Found = TypeVar("Found")


def rows_that_fit(device: torch.device, bytes_a_row: int, *, free: int | None = None) -> int:
    """How many rows fit at a time into the memory that is (or will be) free."""
    fit = int(SHARE * (free_memory(device) if free is None else free)) // max(1, bytes_a_row)
    return max(1, min(fit, MOST.get(device.type, MOST["cpu"])))


def in_chunks(rows: int, size: int, work: Callable[[slice], Found], *, start: int = 0) -> Iterator[tuple[slice, Found]]:
    """Chunks of rows from `start` on, each with the result of `work`."""
    while start < rows:
        chunk = slice(start, min(start + size, rows))
        found = _unless_too_many(work, chunk)
        if found is not None:
            yield chunk, found
            start = chunk.stop
            continue
        _give_back()
        if size == 1:
            raise ProbeError(
                "one row at a time",
                expected="memory for a single row",
                found="not enough of it",
                remedy="Shorten the texts, or use a device with more memory or a narrower dtype.",
            )
        size = (min(size, chunk.stop - chunk.start) + 1) // 2
        log.info("out of memory: continuing with %d rows at a time", size)


def _unless_too_many(work: Callable[[slice], Found], chunk: slice) -> Found | None:
    try:
        return work(chunk)
    except (torch.OutOfMemoryError, MemoryError):
        return None
    except RuntimeError as fault:
        if "allocate memory" not in str(fault):
            raise
        return None


def _give_back() -> None:
    gc.collect()
    free_cache()
