"""One process that does units for a job: what it does before its first, and that it ends with whoever began it.

Where no GPU is in play, processes are forked from a server that has imported what takes long to import (`SLOW`); so a
second process costs milliseconds, and one that was lost is soon replaced.
"""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing import connection, parent_process
from pathlib import Path

from probe.jobs.run.execute import Outcome, execute
from probe.jobs.run.plan import Plan
from probe.jobs.run.stage_inputs import Bench

SLOW = ("torch", "transformers", "pandas", "pyarrow.parquet", "probe.models.loading", __name__)

_bench: Bench | None = None


def begin(plan: Plan, root: Path, device: str, environment: dict[str, str]) -> None:
    """What a process does before its first unit."""
    global _bench
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever interrupts a job means the one who runs it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(environment)  # the server that this was forked from may be older than the job
    _bench = Bench(plan, root, device)


def work(digest: str) -> Outcome:
    assert _bench is not None
    return execute(_bench, digest)


def _end_with_parent() -> None:
    """A killed job takes its processes along, or they would go on beside the next one."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
