"""Progress of long work: a bar on a terminal, occasional lines in a pipe, nothing inside a job that shows its own.

A user who waits wants to see that something happens, and how much is left. A command or function that may take long
counts its work:

    with progress("attributing zoo:ar", len(prompts), "prompts") as advance:
        for rows in chunks:
            …
            advance(len(rows))

A bar appears on a terminal after a second, on standard error, and disappears when the work is done: short work shows
nothing. In a pipe there is no bar: with `lines=True` (a command), and in a notebook, a line every ten seconds shows the
progress; other functions of the library print nothing. `TWINPROBE_PROGRESS=off` in the environment switches it off, for
example for a notebook whose outputs are kept. Only one bar is shown at a time: inside another `progress`, or inside
`silenced()`, nothing is shown. Each count costs one look at the clock.
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
    """Show no progress inside: the caller does."""
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

    `left` estimates the seconds left; without it, each remaining item is assumed to take as long as those done.
    """
    shown = _Shown(what, total, unit, done, lines)
    shown.left = left or shown.left
    with silenced():
        try:
            yield shown.advance
        finally:
            shown.end()


class _Shown:
    """The display of one piece of work."""

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
        """The progress in one line: `loading zoo:ar: 3 of 5 models, 12 s, about 8 s left`."""
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
    """A duration in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
