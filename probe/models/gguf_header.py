"""The header of a GGUF file: its metadata and its tensors' shapes, read within the file's own length.

A GGUF has its config as metadata. Like a config.json, it can say anything (200,000 blocks), and transformers allocates
that. The header also lists every tensor with its shape, so the two are compared here before a weight is read:

    GGUF ─► version, counts ─► metadata: key, type, value … ─► tensors: name, shape, type, offset …

Arrays (a vocabulary) are skipped. A count or a length beyond the file's end is refused. A vocabulary of 150,000 words
costs a tenth of a second.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from probe.errors import CheckpointError
from probe.outside_files import cut

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
MOST_KEYS, MOST_TENSORS, MOST_DIMENSIONS = 10_000, 1_000_000, 4


@dataclass(frozen=True)
class Header:
    """A GGUF's header: single values by key, and shapes by tensor, innermost axis first."""

    metadata: Mapping[str, int | float | bool | str]
    shapes: Mapping[str, tuple[int, ...]]


class _Reader:
    """Values from an offset in a file on; struct.error at its end."""

    def __init__(self, content: mmap.mmap):
        self.content, self.at = content, 0

    def number(self, form: str) -> int | float | bool:
        (value,) = struct.unpack_from("<" + form, self.content, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def count(self, most: int) -> int:
        value = int(self.number("Q"))
        if value > most:
            raise struct.error(f"a count of {value:,}, where at most {most:,} is possible")
        return value

    def skip(self, length: int) -> None:
        self.at += length
        if self.at > len(self.content):
            raise struct.error("a length beyond the end of the file")

    def text(self) -> str:
        length, start = self.count(len(self.content)), self.at
        self.skip(length)
        return self.content[start : self.at].decode("utf-8", "replace")

    def value(self, kind: int) -> int | float | bool | str | None:
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            raise struct.error(f"a value of the unknown type {kind}")
        inner, length = int(self.number("I")), self.count(len(self.content))
        if inner in _NUMBERS:
            self.skip(length * struct.calcsize(_NUMBERS[inner]))
        elif inner == _STRING:
            for _ in range(length):
                self.skip(self.count(len(self.content)))
        else:
            raise struct.error(f"an array of the unknown type {inner}")
        return None


def read_header(file: Path) -> Header:
    """The header of a GGUF; refused if it is not one, or if its metadata do not match its tensors."""
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            header = _header(_Reader(content))
    except (OSError, ValueError, struct.error) as problem:
        raise CheckpointError(
            f"checkpoint {file}",
            expected="a whole GGUF of a known architecture",
            found=cut(" ".join(str(problem).split())),
            remedy="Download it again.",
        ) from None
    _refuse_contradictions(file, header)
    return header


def _header(reader: _Reader) -> Header:
    magic, version = reader.content[:4], 0
    reader.skip(4)
    if magic == b"GGUF":
        version = int(reader.number("I"))
    if version not in (2, 3):
        raise struct.error(f"the magic bytes {magic!r}, version {version}; GGUF of version 2 or 3 is read")
    tensors, keys = reader.count(MOST_TENSORS), reader.count(MOST_KEYS)
    found = {reader.text(): reader.value(int(reader.number("I"))) for _ in range(keys)}
    shapes = dict(_tensor(reader) for _ in range(tensors))
    return Header({key: value for key, value in found.items() if value is not None}, shapes)


def _tensor(reader: _Reader) -> tuple[str, tuple[int, ...]]:
    name, dimensions = reader.text(), int(reader.number("I"))
    if dimensions > MOST_DIMENSIONS:
        raise struct.error(f"a tensor of {dimensions:,} dimensions")
    shape = tuple(int(reader.number("Q")) for _ in range(dimensions))
    for kind in ("I", "Q"):  # its type and its place
        reader.number(kind)
    # No type stores 32 numbers in less than a byte or two.
    if math.prod(shape) > 32 * len(reader.content):
        raise struct.error(f"the tensor {cut(name, 60)} of shape {shape}, which does not fit into the file")
    return name, shape


def _refuse_contradictions(file: Path, header: Header) -> None:
    """Refuse metadata whose sizes differ from the tensors'."""
    kind = header.metadata.get("general.architecture", "")
    blocks = {name.split(".")[1] for name in header.shapes if name.startswith("blk.")}
    embedding, up = header.shapes.get("token_embd.weight"), header.shapes.get("blk.0.ffn_up.weight")
    there = {
        "block_count": len(blocks),
        "embedding_length": embedding[0] if embedding else None,
        "vocab_size": embedding[1] if embedding and len(embedding) == 2 else None,
        "feed_forward_length": up[1] if up and len(up) == 2 else None,
    }
    said = {name: header.metadata.get(f"{kind}.{name}", size) for name, size in there.items() if size is not None}
    wrong = {name: value for name, value in said.items() if value != there[name]}
    heads = header.metadata.get(f"{kind}.attention.head_count", 1)
    width = embedding[0] if embedding else 1
    if type(heads) is not int or not 0 < heads <= width:
        wrong["attention.head_count"], there["attention.head_count"] = heads, width
    if wrong:
        raise CheckpointError(
            f"checkpoint {file}",
            expected="what its tensors say: " + ", ".join(f"{name} {there[name]}" for name in wrong),
            found=", ".join(f"{name} {cut(str(value), 40)}" for name, value in wrong.items()),
            remedy="Download it again.",
        )
