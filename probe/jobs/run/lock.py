"""One run at a time in a run folder.

The lock is the operating system's (`flock`) on a file in the folder. It ends with its process, so a killed run leaves
no lock behind. The text in the file is only for the message that a second run prints.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from probe.errors import ProbeError
from probe.jobs.own_folder import open_without_following


@contextmanager
def only_run(root: Path) -> Iterator[None]:
    """Lock a run folder, or refuse if another run has it."""
    handle = open_without_following(root / ".lock", os.O_RDWR | os.O_CREAT)
    with os.fdopen(handle, "r+", encoding="utf-8", errors="replace") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            opened.seek(0)
            raise ProbeError(
                f"run folder {root}",
                expected="no other run in it",
                found=opened.read(200).strip() or "another run",
                remedy="Wait for it, stop it, or choose another folder with --out.",
            ) from None
        opened.seek(0)
        opened.truncate(0)
        opened.write(f"process {os.getpid()} on {os.uname().nodename}, since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        opened.flush()
        yield
