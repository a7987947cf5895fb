"""Processes of their own in milliseconds: they are forked from a server that has imported what takes long.

A new interpreter needs about six seconds of CPU to import torch and transformers. A test that kills a process needs a
process, and not another interpreter, so it takes one of these. Such tests are marked `forks`, so that one worker of
pytest-xdist runs them all and there is one server.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

import pytest

FORKED = get_context("forkserver")
FORKED.set_forkserver_preload(
    ["probe.jobs.run.runner", "probe.models.loading", "probe.training", "analyses.measures", "plotly", __name__]
)
forks = pytest.mark.xdist_group("forks")


def begin(work: Callable[..., object], *given: Any):
    """A process that does some work under this process's environment, and ends with the exit code that it returns."""
    process = FORKED.Process(target=_work, args=(dict(os.environ), work, given))
    process.start()
    return process


def _work(environment: dict[str, str], work: Callable[..., object], given: tuple[Any, ...]) -> None:
    os.environ.update(environment)
    raise SystemExit(work(*given) or 0)
