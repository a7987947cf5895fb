"""The metadata of a trace's folder, checked against its files before anything is read.

A trace may come from somebody else, or from a damaged disk. zarr follows its metadata: it loads the codec that they
name, and allocates the shape that they claim, even a petabyte. So the metadata of every array are read first, and must
have the form that `TraceStore` writes: numbers of a known type, in regular chunks with a checksum, uncompressed. The
file of such a chunk has a fixed size, `numbers × bytes + 4`. The labels (`example`, `layer`, …), which are read at
once, must be complete, and every other array must be as long as its labels: so shapes are checked against files before
memory is allocated.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from probe.errors import TraceError
from probe.outside_files import FileKind, cut, is_file, told

METADATA = FileKind("trace", error=TraceError, remedy="Delete the trace and record it again.", most_values=1_000_000)
WRITTEN = "written"
BYTES = {"bool": 1, "int8": 1, "uint8": 1, "int16": 2, "int32": 4, "int64": 8, "float16": 2, "float32": 4, "float64": 8}
CHECKSUM = 4  # bytes
MOST_CHUNKS = 10_000_000
LARGEST_CHUNK = 1 << 31  # bytes
SHOWN = (["example"], "int32")  # the dimensions and type of `written`

Size = Annotated[int, Field(ge=0, le=1 << 40)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


M = TypeVar("M", bound="_Part")


class _Chunks(_Part):
    chunk_shape: list[Annotated[int, Field(ge=1, le=1 << 40)]]


class _Grid(_Part):
    name: Literal["regular"]
    configuration: _Chunks


class _Keys(_Part):
    name: Literal["default"]
    configuration: dict[Literal["separator"], Literal["/"]]


class _Numbers(_Part):
    name: Literal["bytes"]
    configuration: dict[Literal["endian"], Literal["little"]] = {}


class _Checked(_Part):
    name: Literal["crc32c"]


class ArrayMetadata(_Part):
    """The `zarr.json` of one array, as `TraceStore` writes it."""

    zarr_format: Literal[3]
    node_type: Literal["array"]
    shape: list[Size]
    data_type: Literal[tuple(BYTES)]  # type: ignore[valid-type]  # a Literal of the table's keys
    chunk_grid: _Grid
    chunk_key_encoding: _Keys
    codecs: tuple[_Numbers, _Checked] = Field(strict=False)
    fill_value: bool | int | float | Literal["NaN"]
    dimension_names: list[str]
    attributes: dict[str, Any] = {}
    storage_transformers: list[Any] = Field(default=[], max_length=0)

    @property
    def chunk_shape(self) -> list[int]:
        return self.chunk_grid.configuration.chunk_shape

    @property
    def chunk_bytes(self) -> int:
        """The size of each chunk's file."""
        return math.prod(self.chunk_shape) * BYTES[self.data_type] + CHECKSUM

    @property
    def chunk_count(self) -> int:
        return math.prod(-(-size // step) for size, step in zip(self.shape, self.chunk_shape, strict=True))


class GroupMetadata(_Part):
    """The `zarr.json` of the whole trace."""

    zarr_format: Literal[3]
    node_type: Literal["group"]
    attributes: dict[str, Any] = {}
    consolidated_metadata: None = None


def check_metadata(path: Path) -> None:
    """Refuse a trace whose metadata are not such as ours, or claim more than its files hold."""
    group = _read(GroupMetadata, path / "zarr.json")
    if not isinstance(group.attributes.get("coordinates", ""), str):
        raise METADATA.refuse(path / "zarr.json", "the names of coordinates", "something else")
    arrays = {file: _read(ArrayMetadata, file) for file in sorted(path.glob("*/zarr.json"))}
    sizes: dict[str, int] = {}
    for file, array in arrays.items():
        _refuse_shapes(file, array, sizes)
    labels = {file.parent.name: file for file, array in arrays.items() if array.dimension_names == [file.parent.name]}
    for file in labels.values():
        _refuse_absent(file, arrays[file])
    written = arrays.get(path / WRITTEN / "zarr.json")
    if written is not None and ("example" not in labels or (written.dimension_names, written.data_type) != SHOWN):
        raise METADATA.refuse(path / WRITTEN, "a number of steps for each example", "something else")


def _read(kind: type[M], file: Path) -> M:
    try:
        return kind.model_validate(METADATA.object(file))
    except ValidationError as problem:
        raise METADATA.refuse(file, "an array as probe.record writes it", told(problem, "the whole")) from None


def _refuse_shapes(file: Path, array: ArrayMetadata, sizes: dict[str, int]) -> None:
    """Refuse dimensions that do not fit one another, or the other arrays'."""
    ranks = {len(array.shape), len(array.chunk_shape), len(array.dimension_names), len(set(array.dimension_names))}
    if len(ranks) > 1:
        raise METADATA.refuse(file, "a size, a chunk and a name for each dimension", f"{sorted(ranks)} of them")
    for name, size in zip(array.dimension_names, array.shape, strict=True):
        if sizes.setdefault(name, size) != size:
            found = f"{sizes[name]:,} and {size:,}"
            raise METADATA.refuse(file, f"one size of the dimension {cut(repr(name), 60)}", found)
    if array.chunk_count > MOST_CHUNKS:
        raise METADATA.refuse(file, f"at most {MOST_CHUNKS:,} chunks", f"{array.chunk_count:,}")
    if array.chunk_bytes > LARGEST_CHUNK:
        raise METADATA.refuse(file, f"chunks of at most {LARGEST_CHUNK:,} bytes", f"{array.chunk_bytes:,}")


def _refuse_absent(file: Path, array: ArrayMetadata) -> None:
    """Refuse a label whose chunks are not all there, or of another size than its metadata say."""
    counts = [-(-size // step) for size, step in zip(array.shape, array.chunk_shape, strict=True)]
    for numbers in itertools.product(*map(range, counts)):
        chunk = file.parent.joinpath("c", *map(str, numbers))
        found = chunk.stat().st_size if is_file(chunk) else 0
        if found != array.chunk_bytes:
            raise METADATA.refuse(chunk, f"{array.chunk_bytes:,} bytes", f"{found:,}" if found else "no such file")
