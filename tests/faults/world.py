"""A small finished run, what it must come to after every fault, and how faults are timed.

The job is the one that the tests of jobs use: two stand-in measures on a shipped pair, which cost next to nothing, and
the real pool of examples and self-tests that they need. A run of it that has nothing left to do takes a tenth of a
second, so two hundred faults are affordable.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd

from probe.errors import ProbeError
from probe.jobs.run.runner import Summary, run_job
from probe.jobs.run.verify import verify
from probe.jobs.spec.model import Spec
from probe.jobs.stages import registry
from tests.probe.jobs.asked import same, spec_of, tables
from tests.probe.jobs.stand_ins import NAMED

PAIR = {"ar": "zoo:ar", "diffusion": "zoo:masked", "controls": False, "name": "zoo:masked"}
# Making these anew loads models and computes self-tests, the others take milliseconds.
DEAR = ("chosen.json", "findings.json")
TOUCHES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
GROWS = {"os.mkdir", "os.rename", "os.link", "os.symlink"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class LostError(AssertionError):
    """A fault after which something is gone or wrong, and nobody said so."""


@dataclass
class World:
    """A run's folder under `root`, and a folder of somebody else's beside it."""

    root: Path
    expected: dict[str, pd.DataFrame] = field(default_factory=dict)
    touches: int = 0  # of its folder, in a run that has a few units to do

    @classmethod
    @contextmanager
    def made(cls, root: Path) -> Iterator[World]:
        before = os.environ.get(registry.VARIABLE)
        os.environ[registry.VARIABLE] = NAMED
        registry.stages.cache_clear()
        try:
            world = cls(root)
            (world.elsewhere / "inner").mkdir(parents=True)
            (world.elsewhere / "mine.txt").write_text("years of work")
            (world.elsewhere / "inner" / "mine.txt").write_text("years of work")
            world.run()
            world.expected = tables(world.folder)
            world.forget(Random(0), all_cheap=True)
            with touching(world.folder, None, lambda: None) as touched:
                world.run()
            world.touches = len(touched)
            yield world
        finally:
            registry.stages.cache_clear()
            os.environ.pop(registry.VARIABLE)
            if before is not None:
                os.environ[registry.VARIABLE] = before

    @property
    def folder(self) -> Path:
        return self.root / "run"

    @property
    def elsewhere(self) -> Path:
        return self.root / "elsewhere"

    @cached_property
    def spec(self) -> Spec:
        return spec_of(self.folder, pairs=[PAIR], tasks=["ioi"])

    def run(self) -> Summary:
        return run_job(self.spec)

    def troubles(self) -> list[str]:
        """What verifying says is wrong."""
        try:
            found = verify(self.folder, sample=0, tell=lambda _: None)
        except ProbeError as problem:
            return [str(problem)]
        return [f"{finding.what}: {finding.trouble}" for finding in found if finding.trouble]

    def mended(self) -> None:
        """The same command once more: all is as if nothing had happened, or something was lost."""
        summary = self.run()
        if summary.state != "complete" or not same(tables(self.folder), self.expected):
            raise LostError(f"the next run is {summary.state} {summary.why}, its tables are others")
        if troubles := self.troubles():
            raise LostError("; ".join(troubles))
        if self.foreign() != FOREIGN:
            raise LostError("somebody else's files were touched")

    def foreign(self) -> dict[str, str]:
        files = sorted(path for path in self.elsewhere.rglob("*") if path.is_file())
        return {str(path.relative_to(self.elsewhere)): path.read_text() for path in files}

    def units(self, *, cheap: bool = False) -> list[Path]:
        found = sorted((self.folder / "units").iterdir())
        return [unit for unit in found if not (cheap and any((unit / name).exists() for name in DEAR))]

    def forget(self, draw: Random, *, all_cheap: bool = False) -> None:
        """Some units to do again, so that a run has work."""
        units = self.units(cheap=True)
        for unit in units if all_cheap else draw.sample(units, draw.randint(1, len(units))):
            shutil.rmtree(unit)

    def files(self, draw: Random) -> list[Path]:
        """The files that a run wrote; those of dear units now and then."""
        dear = set(self.units()) - set(self.units(cheap=True))
        left_out = dear if draw.random() < 0.9 else set()
        found = sorted(path for path in self.folder.rglob("*") if path.is_file() and path.stat().st_size)
        return [path for path in found if path.parent not in left_out]


FOREIGN = {"mine.txt": "years of work", "inner/mine.txt": "years of work"}


class _Watch:
    """What is to happen at which touch of which folder; an audit hook cannot be taken out again, so there is one."""

    folder: str | None = None
    last: int | None = None
    act: Callable[[], Any] = staticmethod(lambda: None)
    disk_full = False
    touched: list[str]


def _hear(event: str, given: tuple) -> None:
    if _Watch.folder is None or event not in TOUCHES:
        return
    if not any(str(each).startswith(_Watch.folder) for each in given[:2]):
        return
    _Watch.touched.append(event)
    if _Watch.last is None or len(_Watch.touched) < _Watch.last:
        return
    if _Watch.disk_full:
        if event in GROWS or (event == "open" and isinstance(given[2], int) and given[2] & WRITES):
            raise OSError(errno.ENOSPC, "No space left on device")
    elif len(_Watch.touched) == _Watch.last:
        _Watch.act()


_hooked: list[bool] = []


@contextmanager
def touching(folder: Path, last: int | None, act: Callable[[], Any], *, full: bool = False) -> Iterator[list[str]]:
    """Something happens as this process is about to touch a folder for the `last` time; or its disk is full from then
    on."""
    if not _hooked:
        sys.addaudithook(_hear)
        _hooked.append(True)
    _Watch.touched, _Watch.last, _Watch.act, _Watch.disk_full = [], last, act, full
    _Watch.folder = str(folder)
    try:
        yield _Watch.touched
    finally:
        _Watch.folder = None


def killed_at(spec: Spec, last: int) -> int:
    """A run, in a process of its own, that is killed at a touch of its folder."""
    with touching(Path(spec.output), last, lambda: os.kill(os.getpid(), signal.SIGKILL)):
        run_job(spec)
    return 0
