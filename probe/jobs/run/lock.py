"""One run at a time in a run folder.

The lock is the operating system's (`flock`) on a file in the folder. It ends with the process that holds it, so a
killed run leaves no lock behind. The text in the file only serves the message that a second run prints.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from probe.errors import ProbeError


@contextmanager
def only_run(root: Path) -> Iterator[None]:
    """Hold a run folder, or refuse because another run does."""
    _made(root)
    with (root / ".lock").open("a+", encoding="utf-8") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            opened.seek(0)
            raise ProbeError(
                f"run folder {root}",
                expected="no other run in it",
                found=opened.read().strip() or "another run",
                remedy="Wait for it, stop it, or choose another folder with --out.",
            ) from None
        opened.truncate(0)
        opened.write(f"process {os.getpid()} on {os.uname().nodename}, since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        opened.flush()
        yield


def _made(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as problem:
        raise ProbeError(
            f"run folder {root}",
            expected="a folder that can be made",
            found=str(problem),
            remedy="Choose another with --out.",
        ) from None
