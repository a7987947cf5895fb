"""Progress of long work: a bar on a terminal, a line now and then in a pipe, silence where a job tells it already.

Who waits wants to know that something happens, and how much of it is left. A verb or a function that may take long
counts what it does:

    with progress("attributing zoo:ar", len(prompts), "prompts") as advance:
        for rows in chunks:
            …
            advance(len(rows))

A bar appears on a terminal after a second, on the screen for errors, and goes when the work is done: short work shows
nothing. In a pipe there is no bar: where `lines` are asked for (a command), and in a notebook, a line every ten seconds
says how far it is; else a function of the library leaves logs alone. `TWINPROBE_PROGRESS=off` in the environment keeps
all of it away: from a notebook that is run to be kept, say. One bar has the screen at a time: inside another
`progress`, or inside `silenced()`, nothing is shown. It costs a look at the clock each time.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE = 1.0  # seconds before a bar appears
EVERY = 10.0  # seconds between two lines in a pipe
LONGEST = 60  # characters of what is being done, beside a bar

_silent: ContextVar[bool] = ContextVar("silent", default=False)


@contextmanager
def silenced() -> Iterator[None]:
    """Nothing inside shows progress: whoever called it does."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


@contextmanager
def progress(
    what: str,
    total: int,
    unit: str = "",
    *,
    done: int = 0,
    lines: bool = False,
    left: Callable[[], float | None] | None = None,
) -> Iterator[Callable[..., None]]:
    """A function that counts: `advance()`, `advance(count)`, `advance(count, "what comes next")`.

    `left` estimates the seconds that are left; without it, what is left takes as long for each as what is done.
    """
    shown = _Shown(what, total, unit, done, lines)
    shown.left = left or shown.left
    with silenced():
        try:
            yield shown.advance
        finally:
            shown.end()


class _Shown:
    """What is on the screen of one piece of work."""

    def __init__(self, what: str, total: int, unit: str, done: int, lines: bool):
        self.what, self.total, self.unit, self.done = what, total, unit, done
        self.first = done
        self.began = self.told = time.monotonic()
        self.left: Callable[[], float | None] = self._at_this_pace
        self.bar: Progress | None = None
        self.mode = "none"
        if not _silent.get() and os.environ.get("TWINPROBE_PROGRESS") != "off":
            lines = lines or "ipykernel" in sys.modules
            self.mode = "bar" if sys.stderr.isatty() else "lines" if lines else "none"

    def advance(self, count: int = 1, what: str = "") -> None:
        self.done += count
        self.what = what or self.what
        if self.mode == "bar":
            self._move()
        elif self.mode == "lines" and time.monotonic() - self.told >= EVERY:
            self.told = time.monotonic()
            print(self.line(), file=sys.stderr, flush=True)

    def line(self) -> str:
        """How far it is, in a line: `loading zoo:ar: 3 of 5 models, 12 s, about 8 s left`."""
        told = f"{self.what}: {self.done:,} of {self.total:,} {self.unit}".rstrip()
        return ", ".join(filter(None, (told, duration(time.monotonic() - self.began), self._told_left())))

    def _told_left(self) -> str:
        seconds = self.left()
        return "" if seconds is None else f"about {duration(seconds)} left"

    def _at_this_pace(self) -> float | None:
        fresh = self.done - self.first
        took = time.monotonic() - self.began
        return took / fresh * (self.total - self.done) if 0 < fresh < self.total - self.first else None

    def _move(self) -> None:
        if self.bar is None:
            if time.monotonic() - self.began < PATIENCE or self.done >= self.total:
                return
            self._open()
        assert self.bar is not None
        self.bar.update(self.row, completed=self.done, description=self.what[:LONGEST], left=self._told_left())

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        described, unit = TextColumn("{task.description}", markup=False), TextColumn(self.unit, markup=False)
        counted, left = MofNCompleteColumn(), TextColumn("{task.fields[left]}", markup=False)
        console = Console(stderr=True)
        self.bar = Progress(
            described, BarColumn(), counted, unit, TimeElapsedColumn(), left, console=console, transient=True
        )
        self.row = self.bar.add_task(self.what[:LONGEST], total=self.total, completed=self.done, left="")
        self.bar.start()

    def end(self) -> None:
        if self.bar is not None:
            self.bar.stop()


def duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
