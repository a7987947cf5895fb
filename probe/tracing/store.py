"""Traces on disk: zarr, written during the recording.

A store is written one batch of examples at a time, by a separate thread, so that the next forward pass runs in
parallel. Chunks have one layer of a few examples, so one layer of all examples, or all layers of one, can be read
without the rest. They have a CRC-32C and are not compressed: activations hardly shrink, and the disk is faster than the
compressor.

An interruption leaves nothing to repair. A chunk is written to a temporary file and moved to its place; when all of a
batch's chunks are there, the batch is entered in `written`, an array of its own, with its number of steps. Entered
batches are complete, others are written again, and a store with missing examples opens as the trace of those that it
has. The checksums detect later damage to a chunk.
"""

from __future__ import annotations

import itertools
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from probe.errors import TraceError
from probe.outside_files import is_there
from probe.tracing.cost import log, readable
from probe.tracing.selection import ABSENT
from probe.tracing.sites import SITES
from probe.tracing.store_metadata import WRITTEN, check_metadata
from probe.tracing.trace import MASK_STATES, Region

if TYPE_CHECKING:
    import xarray
    import zarr

CHUNK = 1 << 20  # bytes; the most that is read unnecessarily for one example


class TraceStore:
    """A trace on disk that is being written. `written` is the number of examples already there."""

    def __init__(
        self,
        path: Path,
        fingerprint: str,
        attributes: dict[str, Any],
        examples: int,
        batch: int,
        labels: Callable[[Region], Region],
    ):
        import zarr

        self.path, self.examples, self.batch, self.labels = path, examples, batch, labels
        if (path / "zarr.json").exists():
            check_metadata(path)
            self.group = zarr.open_group(str(path), mode="r+")
            self._refuse_another(fingerprint)
            for leftover in path.rglob("*.partial"):  # leftovers of an interrupted write
                leftover.unlink()
        else:
            if path.exists() and any(path.iterdir()):
                raise TraceError(
                    f"store {path}",
                    expected="a new folder, or a trace to resume",
                    found="a folder with other files",
                    remedy="Choose another path.",
                )
            self.group = zarr.create_group(str(path), attributes={**attributes, "fingerprint": fingerprint})

    def _refuse_another(self, fingerprint: str) -> None:
        found = self.group.attrs.get("fingerprint")
        if found != fingerprint:
            raise TraceError(
                f"store {self.path}",
                expected=f"the recording that was started there (fingerprint {found})",
                found=f"another one (fingerprint {fingerprint}): other tokens, weights, sites or settings",
                remedy="Resume with the same arguments, or choose another path.",
            )

    def missing(self) -> list[slice]:
        """The batches of examples not yet written."""
        batches = [slice(at, min(at + self.batch, self.examples)) for at in range(0, self.examples, self.batch)]
        if WRITTEN not in self.group:
            return batches
        written = _written(self.path, self.group)
        return [rows for rows in batches if not (written[rows] > 0).all()]

    def write(self, rows: slice, region: Region) -> None:
        """Write some examples, then mark them as written."""
        if WRITTEN not in self.group:
            self._create(region)
        for name, (_, values) in region.items():
            array = _array(self.group, name)
            self._refuse_larger(name, array, values)
            array[(rows, *(slice(0, size) for size in values.shape[1:]))] = values
        dims, values = region["tokens"]
        _array(self.group, WRITTEN)[rows] = values.shape[1] if "step" in dims else 1

    def _create(self, region: Region) -> None:
        """Create the arrays, from the shapes of the first batch. `written` comes last, to mark that all are there."""
        labels = self.labels(region)
        self.group.attrs["coordinates"] = " ".join(name for name in region if name not in SITES)
        for name, (dims, values) in labels.items():
            self._array(name, dims, values.shape, values.shape, values.dtype)[...] = values
        for name, (dims, values) in region.items():
            # Later batches may take more steps than the first.
            inner = [
                len(labels[dim][1]) if dim in labels else size for dim, size in zip(dims, values.shape, strict=True)
            ]
            shape = (self.examples, *inner[1:])
            array = self._array(
                name, dims, shape, chunk_shape(dims, shape, values.dtype.itemsize, self.batch), values.dtype
            )
            if name == "mask_state":
                array.attrs.update(MASK_STATES)
        self._array(WRITTEN, ("example",), (self.examples,), (self.batch,), np.dtype(np.int32), fill=0)

    def _array(
        self,
        name: str,
        dims: tuple[str, ...],
        shape: tuple[int, ...],
        chunks: tuple[int, ...],
        dtype: np.dtype,
        fill: int = ABSENT,
    ) -> zarr.Array:
        from zarr.codecs import Crc32cCodec

        return self.group.create_array(
            name,
            shape=shape,
            chunks=tuple(max(1, size) for size in chunks),
            dtype=dtype,
            compressors=[Crc32cCodec()],
            fill_value=math.nan if dtype.kind == "f" else fill,
            dimension_names=dims,
            config={"write_empty_chunks": True},  # otherwise a lost chunk would look like an empty one
            overwrite=True,
        )

    def _refuse_larger(self, name: str, array: zarr.Array, values: np.ndarray) -> None:
        if any(size > room for size, room in zip(values.shape[1:], array.shape[1:], strict=True)):
            raise TraceError(
                f"{name!r} in store {self.path}",
                expected=f"batches of shape {array.shape[1:]}, like the first one",
                found=str(values.shape[1:]),
                remedy="Use a batch_size of all examples, since theirs differ in the number of slots.",
            )


def chunk_shape(dims: tuple[str, ...], shape: tuple[int, ...], itemsize: int, batch: int) -> tuple[int, ...]:
    """One layer, with as many steps and then examples as make about CHUNK bytes; the examples divide the batch."""
    sizes = [1 if dim == "layer" else size for dim, size in zip(dims, shape, strict=True)]
    inner = itemsize * math.prod(size for dim, size in zip(dims, sizes, strict=True) if dim not in ("example", "step"))
    steps = 1
    if "step" in dims:
        steps = sizes[dims.index("step")] = max(1, min(sizes[dims.index("step")], CHUNK // inner))
    if dims[0] == "example":
        most = max(1, min(batch, CHUNK // (inner * steps)))
        sizes[0] = next(size for size in range(most, 0, -1) if batch % size == 0)
    return tuple(sizes)


def _array(group: zarr.Group, name: str) -> zarr.Array:
    import zarr

    array = group[name]
    assert isinstance(array, zarr.Array)
    return array


class Writer:
    """Writes regions to a store in a separate thread, with at most one region waiting."""

    def __init__(self, store: TraceStore):
        self.store = store
        self.busy = 0.0  # seconds spent writing
        self.waited = 0.0  # seconds that the forward pass had to wait
        self._queue: queue.Queue[tuple[slice, Region] | None] = queue.Queue(maxsize=1)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="probe.record writer", daemon=True)
        self._thread.start()

    def put(self, rows: slice, region: Region) -> None:
        """Queue a region; raises the error of an earlier one, if there was one."""
        before = time.perf_counter()
        self._queue.put((rows, region))
        self.waited += time.perf_counter() - before
        self._raise()

    def close(self, *, failed: bool = False) -> None:
        """Wait until all is written."""
        self._queue.put(None)
        self._thread.join()
        if not failed:
            self._raise()

    def report(self, seconds: float) -> None:
        """Log what limited the speed of the recording."""
        bound = "the disk" if self.waited > 0.1 * seconds else "the forward pass"
        log.info(
            "%s written in %.1f s: %.1f s of writing, of which the forward pass waited for %.1f s; bounded by %s",
            self.store.path,
            seconds,
            self.busy,
            self.waited,
            bound,
        )

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._failure is None:  # after a failure the rest is dropped, so that nobody waits
                before = time.perf_counter()
                try:
                    self.store.write(*item)
                except BaseException as failure:
                    self._failure = failure
                self.busy += time.perf_counter() - before
            del item

    def _raise(self) -> None:
        if isinstance(self._failure, OSError):
            raise _disk_failed(self.store, self._failure) from self._failure
        if self._failure is not None:
            raise self._failure


def _disk_failed(store: TraceStore, failure: OSError) -> TraceError:
    import shutil

    left = sum(rows.stop - rows.start for rows in store.missing())
    free = readable(shutil.disk_usage(store.path).free)
    return TraceError(
        f"store {store.path}",
        expected=f"room for {left} more of {store.examples} examples",
        found=f"{failure.strerror or failure} ({free} free)",
        remedy="Free some space and run the same command again: it resumes with the missing examples.",
    )


def open_trace(path: str | Path, *, verify: bool = True) -> xarray.Dataset:
    """Open a trace on disk. Arrays are read when they are used.

    `verify` reads every chunk once and refuses a trace if one is damaged, incomplete or missing. The trace of an
    interrupted recording has the examples that were written; `attrs["complete"]` is then False.
    """
    import xarray
    import zarr

    path = Path(path)
    if not is_there(path / "zarr.json"):
        raise TraceError(
            f"trace {path}",
            expected="a zarr store",
            found="none there",
            remedy="Record one with probe.record(…, store=…).",
        )
    check_metadata(path)
    group = zarr.open_group(str(path), mode="r")
    if WRITTEN not in group:
        raise TraceError(
            f"trace {path}",
            expected="at least one batch of examples",
            found="a recording that was interrupted before its first batch was written",
            remedy="Run the command that records it again.",
        )
    written = _written(path, group)
    if verify:
        _verify(path, group, written)
    # Attributes are descriptions only: nothing is scaled, masked or decoded as a time.
    trace = xarray.open_zarr(
        str(path), consolidated=False, chunks=None, mask_and_scale=False, decode_times=False
    ).drop_vars(WRITTEN)
    if not (written > 0).all():
        trace = trace.isel(example=np.flatnonzero(written))
    if "step" in trace.dims:  # the array has room for more steps than any example took
        trace = trace.isel(step=slice(0, int(written.max())))
    trace.attrs["complete"] = bool((written > 0).all())
    trace.attrs.pop("coordinates", None)
    return trace


def _written(path: Path, group: zarr.Group) -> np.ndarray:
    """The number of written steps of each example."""
    array = _array(group, WRITTEN)
    steps = np.zeros(array.shape, dtype=array.dtype)
    for (start,) in _corners(array):
        if (path / WRITTEN / "c" / str(start // array.chunks[0])).exists():
            steps[start : start + array.chunks[0]] = _read(path, array, (start,))
    return steps


def _verify(path: Path, group: zarr.Group, written: np.ndarray) -> None:
    """Read every chunk that should be there."""
    for name, array in group.arrays():
        dims: tuple[str, ...] = array.metadata.dimension_names  # type: ignore  # all arrays here are of zarr format 3
        is_label = dims == (name,)
        for corner in _corners(array):
            at = dict(zip(dims, corner, strict=True))
            if is_label or at.get("step", 0) < written[corner[0] : corner[0] + array.chunks[0]].max():
                _read(path, array, corner, must_exist=name != WRITTEN)


def _corners(array: zarr.Array) -> Iterator[tuple[int, ...]]:
    """The first index of every chunk."""
    return itertools.product(*(range(0, size, step) for size, step in zip(array.shape, array.chunks, strict=True)))


def _read(path: Path, array: zarr.Array, corner: tuple[int, ...], *, must_exist: bool = False) -> np.ndarray:
    """One chunk of an array, or an error that names it."""
    numbers = (str(at // step) for at, step in zip(corner, array.chunks, strict=True))
    chunk = Path(array.basename, "c", *numbers)
    try:
        if must_exist and not (path / chunk).exists():
            raise FileNotFoundError("it is gone")
        return np.asarray(array[tuple(slice(at, at + step) for at, step in zip(corner, array.chunks, strict=True))])
    except Exception as failure:  # codecs may raise anything; in any case this chunk cannot be read
        raise TraceError(
            f"trace {path}",
            expected=f"chunk {chunk} as it was written",
            found=f"{type(failure).__name__}: {failure}",
            remedy="Delete the trace and record it again, or open it with verify=False and leave those examples out.",
        ) from failure
