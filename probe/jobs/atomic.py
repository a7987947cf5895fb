"""Writing a file so that a reader, or a crash, finds the old one or the new one, never half of either.

The new content goes into a file of its own, which then takes the place of the old one. So a link in that place is
replaced, and what it led to is left alone. A process that is killed meanwhile leaves the new file behind under a name
that says what it is (`is_leftover`); the next run removes it.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

PART = ".part-"  # what a file is called until it is whole, before its own name
# As versions before 0.2 called them in the root of a run.
_FORMER = re.compile(r"\.(manifest\.json|spec\.yaml|report\.(html|md|parquet))-[a-z0-9_]{8}")


def is_leftover(file: Path) -> bool:
    """Whether a file was being written when its process was killed."""
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
