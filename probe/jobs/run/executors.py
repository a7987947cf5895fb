"""Where units are computed: in this process, in processes of this machine, or (in `ray_cluster`) on other machines.

An executor takes units while one of its workers is free, and returns outcomes. If a worker dies (killed, or the machine
ran out of memory), its unit is returned as `Lost` and the runner gives it to another worker. The unit left nothing on
disk, since units are written completely or not at all. Each local worker is a pool of one process, so that it is known
which one died, and a process keeps the models of its pair loaded.
"""

from __future__ import annotations

import os
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

from probe.jobs.run.execute import Outcome, execute
from probe.jobs.run.plan import Plan
from probe.jobs.run.stage_inputs import WorkerContext
from probe.jobs.run.worker import SLOW, begin, work


@dataclass(frozen=True)
class Lost:
    """A unit whose worker was lost, and the reason if known."""

    why: str


class Executor(Protocol):
    """Computes units."""

    def free(self) -> bool:
        """Whether it can take another unit now."""
        ...

    def take(self, digest: str, pair: str) -> None: ...

    def pairs(self) -> list[str]:
        """The pairs whose models its free workers have loaded."""
        ...

    def finished(self) -> list[tuple[str, Outcome | Lost]]:
        """Wait for at least one of its units."""
        ...

    def stop(self) -> None:
        """Stop at once, without waiting for running units."""
        ...


class InThisProcess:
    """Computes in this process, one unit after the other."""

    def __init__(self, plan: Plan, root: Path):
        self._context, self._taken, self._pair = WorkerContext(plan, root), [], ""

    def free(self) -> bool:
        return not self._taken

    def take(self, digest: str, pair: str) -> None:
        self._taken, self._pair = [digest], pair

    def pairs(self) -> list[str]:
        return [self._pair]

    def finished(self) -> list[tuple[str, Outcome | Lost]]:
        (digest,), self._taken = self._taken, []
        return [(digest, execute(self._context, digest))]

    def stop(self) -> None:
        pass


class LocalProcesses:
    """Computes in processes of this machine."""

    def __init__(self, plan: Plan, root: Path, devices: list[str]):
        self._plan, self._root = plan, root
        self._workers = [_Worker(plan, root, device) for device in devices]

    def free(self) -> bool:
        return any(worker.future is None for worker in self._workers)

    def pairs(self) -> list[str]:
        return [worker.pair for worker in self._workers if worker.future is None]

    def take(self, digest: str, pair: str) -> None:
        idle = [worker for worker in self._workers if worker.future is None]
        worker = next((worker for worker in idle if worker.pair == pair), None)
        (worker or min(idle, key=lambda worker: bool(worker.pair))).begin(digest, pair)

    def finished(self) -> list[tuple[str, Outcome | Lost]]:
        busy = [worker for worker in self._workers if worker.future is not None]
        done, _ = wait([worker.future for worker in busy if worker.future], return_when=FIRST_COMPLETED)
        return [worker.end() for worker in busy if worker.future in done]

    def stop(self) -> None:
        for worker in self._workers:
            worker.kill()


class _Worker:
    """One process, restarted when it dies."""

    def __init__(self, plan: Plan, root: Path, device: str):
        self._make = lambda: ProcessPoolExecutor(
            1, mp_context=_context(device), initializer=begin, initargs=(plan, root, device, dict(os.environ))
        )
        self._executor: ProcessPoolExecutor | None = None
        self.future: Future[Outcome] | None = None
        self.digest, self.pair = "", ""

    def begin(self, digest: str, pair: str) -> None:
        self._executor = self._executor or self._make()
        self.digest, self.pair = digest, pair
        self.future = self._executor.submit(work, digest)

    def end(self) -> tuple[str, Outcome | Lost]:
        assert self.future is not None
        future, self.future = self.future, None
        try:
            return self.digest, future.result()
        except BrokenProcessPool:
            self.kill()
            return self.digest, Lost(
                "its process ended without an error message (killed, or the machine ran out of memory)"
            )

    def kill(self) -> None:
        if self._executor is None:
            return
        for process in list((self._executor._processes or {}).values()):
            process.kill()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor, self.pair = None, ""


def _context(device: str) -> Any:
    """How processes start: spawned for a GPU (CUDA does not survive a fork), else forked from a preloaded server."""
    if device != "cpu":
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(list(SLOW))
    return context


def devices(device: str, workers: int | None, units: int) -> list[str]:
    """The device of each process: one process per core or GPU, but not more than there are units."""
    import torch

    gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    processes = workers if workers is not None else gpus or (1 if device.startswith("cuda") else _cores())
    processes = min(processes, units)
    if gpus:
        return [f"cuda:{number % gpus}" for number in range(processes)]
    return [device if device.startswith("cuda") else "cpu"] * processes


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
