"""One local process that computes units: its start, and how it ends with its parent process.

On a CPU, processes are forked from a server that has already imported the slow packages (`SLOW`). So a second process,
or a replacement of a dead one, starts in milliseconds.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from multiprocessing import connection, parent_process
from pathlib import Path

from probe.errors import ProbeError
from probe.jobs.own_folder import open_without_following
from probe.jobs.run.execute import Outcome, execute
from probe.jobs.run.plan import Plan
from probe.jobs.run.stage_inputs import WorkerContext

SLOW = ("torch", "transformers", "pandas", "pyarrow.parquet", "probe.models.loading", __name__)

LOG = "workers.log"

_context: WorkerContext | None = None


def begin(plan: Plan, root: Path, device: str, environment: dict[str, str]) -> None:
    """Initialise a process before its first unit."""
    global _context
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interruption is for the runner, not for workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _leave_the_screen(root)
    os.environ.update(environment)  # the server that this was forked from may be older than the job
    _context = WorkerContext(plan, root, device)


def _leave_the_screen(root: Path) -> None:
    """Redirect what libraries print in this process into a file, since the terminal shows the run's progress."""
    if not os.isatty(2):
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    with suppress(OSError, ProbeError):
        os.dup2(open_without_following(root / ".scratch" / LOG, flags), 2)


def work(digest: str) -> Outcome:
    assert _context is not None
    return execute(_context, digest)


def _end_with_parent() -> None:
    """End this process when the job is killed; otherwise it would keep running beside the next one."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
