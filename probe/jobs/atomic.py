"""Atomic writes: a reader, or a crash, finds either the old file or the new one.

The new content goes into a temporary file, which then replaces the old one. So a link in that place is replaced, and
its target is untouched. A process that is killed meanwhile leaves the temporary file behind under a recognisable name
(`is_leftover`); the next run removes it.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

PART = ".part-"  # prefix of a file's name until it is complete
# As named by versions before 0.2 in the root of a run.
_FORMER = re.compile(r"\.(manifest\.json|spec\.yaml|report\.(html|md|parquet))-[a-z0-9_]{8}")


def is_leftover(file: Path) -> bool:
    """Whether a file is the leftover of a killed process."""
    return file.name.startswith(PART) or _FORMER.fullmatch(file.name) is not None


def write_atomically(file: Path, content: str | bytes) -> None:
    """Write a file in one step."""
    data = content if isinstance(content, bytes) else content.encode("utf-8", errors="replace")
    handle, temporary = tempfile.mkstemp(prefix=f"{PART}{file.name}-"[:60], dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
