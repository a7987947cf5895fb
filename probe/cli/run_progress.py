"""The progress of a job on a screen: how many units are done, and about how long the rest will take.

Units differ: a circuit takes two seconds and a table made from it two hundredths, and a plan does not mix them evenly.
So an estimate from the last few units would jump by a factor of ten. Instead the time left is estimated by kind: a unit
takes as long as the finished ones of its measure (or as all finished ones, if there are none yet), and as many units
run in parallel as did so far. The displayed estimate moves a third of the way to each new one, so that one slow unit
hardly changes it.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from probe.progress import progress

if TYPE_CHECKING:
    from probe.jobs.run.execute import Outcome
    from probe.jobs.run.plan import Plan
    from probe.jobs.run.unit import Unit

STEP = 1 / 3  # of the way to a new estimate


class TimeLeft:
    """The time that the rest of a job will take, from what its units took so far."""

    def __init__(self, labels: Iterable[str], clock: Callable[[], float] = time.monotonic):
        self._left = Counter(labels)
        self._took: dict[str, list[float]] = defaultdict(list)
        self._clock = clock
        self._began = clock()
        self._told: tuple[float, float] | None = None  # an estimate, and when it was made

    def done(self, label: str, seconds: float) -> None:
        self._left[label] -= 1
        self._took[label].append(seconds)
        now, fresh = self._clock(), self._estimate()
        if self._told is not None:
            estimate, made = self._told
            before = max(0.0, estimate - (now - made))
            fresh = before + STEP * (fresh - before)
        self._told = (fresh, now)

    def seconds(self) -> float | None:
        """About how long it will take from now; None before the first unit is done."""
        if self._told is None:
            return None
        estimate, made = self._told
        return max(0.0, estimate - (self._clock() - made))

    def _estimate(self) -> float:
        all_took = [seconds for took in self._took.values() for seconds in took]
        mean = sum(all_took) / len(all_took)
        at_once = sum(all_took) / max(self._clock() - self._began, 1e-9) or 1.0
        work = sum(
            count * (sum(took) / len(took) if (took := self._took.get(label)) else mean)
            for label, count in self._left.items()
        )
        return work / at_once


class RunProgress:
    """Follows a run: one bar on a terminal, a line now and then in a pipe."""

    def __init__(self) -> None:
        self._screen = ExitStack()
        self._running: list[str] = []
        self._advance: Callable[..., None] | None = None

    def begin(self, plan: Plan, missing: list[Unit]) -> None:
        if missing:
            self._left = TimeLeft(unit.label for unit in missing)
            shown = progress(plan.spec.name, len(missing), "units", lines=True, left=self._left.seconds)
            self._advance = self._screen.enter_context(shown)

    def started(self, unit: Unit) -> None:
        self._running.append(unit.id)
        self._tell(0)

    def finished(self, unit: Unit, outcome: Outcome) -> None:
        if unit.id in self._running:
            self._running.remove(unit.id)
        self._left.done(unit.label, outcome.seconds)
        self._tell(1)

    def reporting(self) -> None:
        if self._advance is not None:
            self._advance(0, "writing the report")

    def end(self) -> None:
        self._screen.close()

    def _tell(self, count: int) -> None:
        if self._advance is not None:
            self._advance(count, self._running[-1] if self._running else "")
