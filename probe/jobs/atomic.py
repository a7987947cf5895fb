"""Writing a file so that a reader, or a crash, finds the old one or the new one, never half of either.

The new content goes into a file of its own, which then takes the place of the old one. So a link in that place is
replaced, and what it led to is left alone.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_atomically(file: Path, content: str | bytes) -> None:
    """Write a file in one step."""
    data = content if isinstance(content, bytes) else content.encode("utf-8", errors="replace")
    handle, temporary = tempfile.mkstemp(prefix=f".{file.name}-"[:60], dir=file.parent)
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
