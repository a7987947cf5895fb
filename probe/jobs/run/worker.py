"""One local process that computes units: what it does before the first, and how it ends with the process that began it.

On a CPU, processes are forked from a server that has already imported what takes long (`SLOW`). So a second process, or
one that replaces a dead one, starts in milliseconds.
"""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing import connection, parent_process
from pathlib import Path

from probe.jobs.run.execute import Outcome, execute
from probe.jobs.run.plan import Plan
from probe.jobs.run.stage_inputs import WorkerContext

SLOW = ("torch", "transformers", "pandas", "pyarrow.parquet", "probe.models.loading", __name__)

_context: WorkerContext | None = None


def begin(plan: Plan, root: Path, device: str, environment: dict[str, str]) -> None:
    """What a process does before its first unit."""
    global _context
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever interrupts a job means the one who runs it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(environment)  # the server that this was forked from may be older than the job
    _context = WorkerContext(plan, root, device)


def work(digest: str) -> Outcome:
    assert _context is not None
    return execute(_context, digest)


def _end_with_parent() -> None:
    """A killed job takes its processes along, or they would go on beside the next one."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
