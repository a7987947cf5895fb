"""The bytes of a file, and their text: a pipe or a device, which may never end, is not read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from probe.outside_files.limits import UnreadableError
from probe.outside_files.wording import cut


def read_bytes(path: str | Path, largest: int) -> bytes:
    """What a file holds; a pipe or a device, which may never end, is none."""
    try:
        # Without O_NONBLOCK, opening a named pipe waits for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as problem:
        raise _of_path(problem) from None
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_size > largest:
        os.close(handle)
        if stat.S_ISREG(found.st_mode):
            raise UnreadableError(f"at most {largest:,} bytes", f"{found.st_size:,}")
        raise UnreadableError("a file", "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device")
    with os.fdopen(handle, "rb") as opened:
        try:
            return opened.read(largest)
        except OSError as problem:
            raise _of_path(problem) from None


def decoded(content: bytes) -> str:
    """The text of some bytes, as UTF-8 (a byte-order mark is left out)."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        found = f"the byte 0x{content[problem.start]:02x}"
        raise UnreadableError("UTF-8 text", found, f"line {line}", "Save it as UTF-8.") from None


def refuse_lone(values: list[Any]) -> None:
    """Refuse strings that hold half of a sign (a lone surrogate), which nothing can write again."""
    for value in values:
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                found = f"half a sign in {cut(repr(value), 60)}"
                raise UnreadableError("text that can be written as UTF-8", found) from None


def _of_path(problem: OSError | ValueError) -> UnreadableError:
    if isinstance(problem, FileNotFoundError):
        return UnreadableError("a file", "no such file", "", "Check the path.")
    words = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    return UnreadableError("a file that can be read", cut(words), "", "Check the path.")
