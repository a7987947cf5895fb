"""Processes of their own in milliseconds: they are forked from a server that has imported what takes long.

A new interpreter needs about six seconds of CPU to import torch and transformers. A test that kills a process needs a
process, and not another interpreter, so it takes one of these. One worker of pytest-xdist runs all such tests, so
that there is one server (`tests/whole_files.py`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from multiprocessing import get_context
from types import ModuleType
from typing import Any
from unittest.mock import patch

FORKED = get_context("forkserver")
FORKED.set_forkserver_preload(
    [
        *("probe.jobs.run.runner", "probe.models.loading", "probe.training", "analyses.measures", "plotly"),
        *(__name__, "tests.forked_from"),
    ]
)


def begin(work: Callable[..., object], *given: Any):
    """A process that does some work under this process's environment, and ends with the exit code that it returns."""
    process = FORKED.Process(target=_work, args=(dict(os.environ), work, given))
    # A forked process imports its parent's main module again. A test of the app may have put the app's script there.
    with patch.dict(sys.modules, {"__main__": ModuleType("__main__")}):
        process.start()
    return process


def _work(environment: dict[str, str], work: Callable[..., object], given: tuple[Any, ...]) -> None:
    os.environ.update(environment)
    raise SystemExit(work(*given) or 0)
