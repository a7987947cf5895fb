"""Who does the units: this process, some processes of this machine, or (in `cluster`) other machines.

A crew takes units as long as it has a free hand, and hands back outcomes. A hand that is lost (killed, out of the
machine's memory, a node that went away) gives its unit back as `Lost`, and the runner gives it to another; the folder
holds no half of it. Each local hand is an executor of one process, so that the death of one is known to be that one's,
and so that a process keeps the models of the pair that it is at.
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
from probe.jobs.run.stage_inputs import Bench
from probe.jobs.run.worker import SLOW, begin, work


@dataclass(frozen=True)
class Lost:
    """A unit whose hand was lost, and what is known of that."""

    why: str


class Crew(Protocol):
    """Where units are done."""

    def free(self) -> bool:
        """Whether it takes another unit now."""
        ...

    def take(self, digest: str, pair: str) -> None: ...

    def pairs(self) -> list[str]:
        """The pairs that its free hands have at hand."""
        ...

    def finished(self) -> list[tuple[str, Outcome | Lost]]:
        """Wait for at least one of the units that were taken."""
        ...

    def stop(self) -> None:
        """Let go of everything at once; what is being done is not waited for."""
        ...


class Alone:
    """This process, one unit after the other."""

    def __init__(self, plan: Plan, root: Path):
        self._bench, self._taken, self._pair = Bench(plan, root), [], ""

    def free(self) -> bool:
        return not self._taken

    def take(self, digest: str, pair: str) -> None:
        self._taken, self._pair = [digest], pair

    def pairs(self) -> list[str]:
        return [self._pair]

    def finished(self) -> list[tuple[str, Outcome | Lost]]:
        (digest,), self._taken = self._taken, []
        return [(digest, execute(self._bench, digest))]

    def stop(self) -> None:
        pass


class Hands:
    """Processes of this machine."""

    def __init__(self, plan: Plan, root: Path, devices: list[str]):
        self._plan, self._root = plan, root
        self._hands = [_Hand(plan, root, device) for device in devices]

    def free(self) -> bool:
        return any(hand.future is None for hand in self._hands)

    def pairs(self) -> list[str]:
        return [hand.pair for hand in self._hands if hand.future is None]

    def take(self, digest: str, pair: str) -> None:
        idle = [hand for hand in self._hands if hand.future is None]
        hand = next((hand for hand in idle if hand.pair == pair), None)
        (hand or min(idle, key=lambda hand: bool(hand.pair))).begin(digest, pair)

    def finished(self) -> list[tuple[str, Outcome | Lost]]:
        busy = [hand for hand in self._hands if hand.future is not None]
        done, _ = wait([hand.future for hand in busy if hand.future], return_when=FIRST_COMPLETED)
        return [hand.end() for hand in busy if hand.future in done]

    def stop(self) -> None:
        for hand in self._hands:
            hand.kill()


class _Hand:
    """One process, begun anew when it is lost."""

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
            return self.digest, Lost("its process ended without a word (killed, or the machine ran out of memory)")

    def kill(self) -> None:
        if self._executor is None:
            return
        for process in list((self._executor._processes or {}).values()):
            process.kill()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor, self.pair = None, ""


def _context(device: str) -> Any:
    """How processes begin: anew where there is a GPU, which does not outlive a fork, else from a server's memory."""
    if device != "cpu":
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(list(SLOW))
    return context


def devices(asked: str, workers: int | None, units: int) -> list[str]:
    """The device of each process: as many as there are cores, or GPUs, and no more than there is to do."""
    import torch

    gpus = torch.cuda.device_count() if asked in ("auto", "cuda") else 0
    hands = workers if workers is not None else gpus or (1 if asked.startswith("cuda") else _cores())
    hands = min(hands, units)
    if gpus:
        return [f"cuda:{number % gpus}" for number in range(hands)]
    return [asked if asked.startswith("cuda") else "cpu"] * hands


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
