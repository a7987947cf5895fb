"""Running a job: compute the missing units in a valid order, then write the manifest and the report.

The runner is one process with the folder's lock; it checks what is there, and gives the rest to an executor. It
computes nothing itself, so it can always react:

    interrupted (Ctrl-C, SIGTERM, SIGHUP)    running units are lost, finished ones are kept
    a unit fails                             the units that need it fail too, all others continue
    disk full, or time budget spent          the run ends with what it has

After each of these, the same command resumes.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from probe.errors import ProbeError
from probe.jobs.atomic import write_atomically
from probe.jobs.own_folder import claim
from probe.jobs.report.answer import answer_in
from probe.jobs.report.render import write_report
from probe.jobs.run.execute import Outcome, error_facts
from probe.jobs.run.executors import (
    Executor,
    InThisProcess,
    LocalProcesses,
    Lost,
    devices,
)
from probe.jobs.run.figures import draw
from probe.jobs.run.finished import is_finished, note_finished
from probe.jobs.run.lock import only_run
from probe.jobs.run.manifest import Circumstances, State, shown_before, write_manifest
from probe.jobs.run.model_identity import HashCache
from probe.jobs.run.plan import Plan, plan_of
from probe.jobs.run.unit import Unit
from probe.jobs.run.unit_store import SHOWN, UnitStore
from probe.jobs.spec.file import as_yaml
from probe.jobs.spec.model import Spec
from probe.jobs.stages.registry import known_stage

MOST_LOST = 3  # how often a unit's process or node may be lost before the unit counts as the cause


class Watcher(Protocol):
    """Follows a run, for example with a progress bar."""

    def begin(self, plan: Plan, missing: list[Unit]) -> None: ...

    def started(self, unit: Unit) -> None: ...

    def finished(self, unit: Unit, outcome: Outcome) -> None: ...

    def reporting(self) -> None: ...

    def end(self) -> None: ...


class Quiet:
    """Follows nothing."""

    def begin(self, plan: Plan, missing: list[Unit]) -> None: ...

    def started(self, unit: Unit) -> None: ...

    def finished(self, unit: Unit, outcome: Outcome) -> None: ...

    def reporting(self) -> None: ...

    def end(self) -> None: ...


@dataclass(frozen=True)
class Summary:
    """The result of a run."""

    folder: Path
    state: str  # complete, failed, stopped, interrupted
    counts: dict[str, int]
    cached: int
    seconds: float
    failures: dict[str, dict[str, str]] = field(default_factory=dict)  # id → error
    report: Path | None = None
    why: str = ""
    answer: tuple[str, ...] = ()  # the sentences at the beginning of the report

    @property
    def exit_code(self) -> int:
        return {"complete": 0, "interrupted": 130}.get(self.state, 1)


class StoppedError(Exception):
    """The run has to stop early, for a reason that the user can fix."""


def run_job(
    spec: Spec,
    *,
    on: str = "local",
    workers: int | None = None,
    only: str | None = None,
    address: str | None = None,
    command: str = "",
    watcher: Watcher | None = None,
) -> Summary:
    """Compute the missing units of a job, in its folder."""
    root = Path(spec.output)
    store = UnitStore(root)
    claim(root)
    with _explained(root), only_run(root), _terminated_as_interrupted():
        store.prepare()
        hashes = HashCache.open(store.scratch / "weights.json")
        plan = plan_of(spec, hashes)
        wanted = plan.only(only) if only else plan
        hashes.save(store.scratch / "weights.json")
        write_atomically(root / "spec.yaml", as_yaml(spec))
        job = _Job(plan, wanted, store, watcher or Quiet())
        executor, worker_count = _executor(plan, root, on, workers, address, len(job.missing))
        circumstances = Circumstances(command or f"twinprobe run {root}", on, worker_count)
        return job.run(executor, circumstances)


def _executor(
    plan: Plan, root: Path, on: str, workers: int | None, address: str | None, units: int
) -> tuple[Callable[[], Executor], int]:
    """A function that creates the executor (only if something is missing), and its number of workers."""
    wanted = workers if workers is not None else plan.spec.budget.workers
    if on == "ray":
        from probe.jobs.run.ray_cluster import Cluster

        return (lambda: Cluster(plan, root, address, wanted)), wanted or 0
    if wanted == 0:
        return (lambda: InThisProcess(plan, root)), 0
    if plan.spec.device_map is not None:  # a model takes several devices: one process, unless more are asked for
        each = [plan.spec.device] * min(wanted or 1, max(1, units))
    else:
        each = devices(plan.spec.device, wanted, max(1, units))
    return (lambda: LocalProcesses(plan, root, each)), len(each)


@contextmanager
def _explained(root: Path) -> Iterator[None]:
    """Turn a failure to write the folder into an error that the user can act on."""
    try:
        yield
    except OSError as problem:
        raise ProbeError(
            f"run folder {root}",
            expected="a folder that can be written",
            found=str(problem),
            remedy="Correct that, or choose another with --out.",
        ) from None


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Treat SIGTERM (a batch system's time limit) and SIGHUP (a closed terminal) like Ctrl-C, and many like one: those
    that come during the orderly end are ignored."""
    before: dict[int, Any] = {}

    def interrupt(*_: Any) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` leaves it
                before[number] = signal.signal(number, interrupt)
    except ValueError:  # not the main thread: the caller handles the signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Job:
    """The execution of a plan."""

    def __init__(self, plan: Plan, wanted: Plan, store: UnitStore, watcher: Watcher):
        self.plan, self.store, self.watcher = plan, store, watcher
        self.state = State({unit.hash: "missing" for unit in plan})
        for unit in plan:
            self._look(unit)
        self.missing = [unit for unit in wanted if self.state.status[unit.hash] == "missing"]
        self.lost: dict[str, int] = {}
        self.role: str | int | None = None  # of the unit that was handed out last
        self.running: set[str] = set()

    def _look(self, unit: Unit) -> None:
        """Whether a unit is already on disk and complete."""
        damage = self.store.damage(unit.hash)
        if damage is None:
            self.state.status[unit.hash] = "done"
            self.state.cached.add(unit.hash)
        elif self.store.folder(unit.hash).exists():
            self.state.notes[unit.hash] = [f"computed again, since an earlier run's files were damaged: {damage}"]

    def run(self, make_executor: Callable[[], Executor], circumstances: Circumstances) -> Summary:
        """Compute all possible units, then write manifest and report."""
        began = time.monotonic()
        if set(self.state.status.values()) == {"done"} and is_finished(self.store, self.plan):
            self.state.run = "complete"
            return self._summary(began, self.store.root / "report.html", "")
        try:
            return self._run(make_executor, circumstances, began)
        finally:
            self.watcher.end()

    def _run(self, make_executor: Callable[[], Executor], circumstances: Circumstances, began: float) -> Summary:
        why = ""
        try:
            self._carry_out(make_executor, circumstances, began)
            self.state.run = "failed" if self.state.counts()["failed"] else "complete"
            if self.state.figures:
                why = f"{len(self.state.figures)} figures could not be drawn; their numbers are saved."
        except KeyboardInterrupt:
            self.state.run, why = "interrupted", "The same command resumes."
        except StoppedError as reason:
            self.state.run, why = "stopped", str(reason)
        report, trouble = self._end(circumstances)
        if self.state.run == "complete" and not self.state.figures and report is not None:
            self._note_finished()
        return self._summary(began, report, " ".join(filter(None, (why, trouble))))

    def _note_finished(self) -> None:
        if set(self.state.status.values()) == {"done"}:
            with suppress(OSError):
                note_finished(self.store, self.plan)

    def _summary(self, began: float, report: Path | None, why: str) -> Summary:
        return Summary(
            self.store.root,
            self.state.run,
            self.state.counts(),
            len(self.state.cached),
            time.monotonic() - began,
            {self.plan.units[digest].id: error for digest, error in self.state.errors.items()},
            report,
            why,
            answer_in(report.with_suffix(".md")) if report is not None else (),
        )

    def _carry_out(self, make_executor: Callable[[], Executor], circumstances: Circumstances, began: float) -> None:
        self._unlink_former()
        for digest in self.state.cached:
            self._show(self.plan.units[digest])
        self._tell(circumstances)
        self.watcher.begin(self.plan, self.missing)
        minutes = self.plan.spec.budget.minutes
        if self.missing:
            self._do_all(make_executor(), began + 60 * minutes if minutes else float("inf"))

    def _unlink_former(self) -> None:
        """Remove results of an earlier spec: those that the manifest lists and this plan does not."""
        wanted = {f"{folder}/{stem}{suffix}" for stem in self.plan.stems.values() for folder, suffix in SHOWN.items()}
        self.store.unlink(set(shown_before(self.store.root)) - wanted)

    def _do_all(self, executor: Executor, deadline: float) -> None:
        """Submit ready units while a worker is free and receive outcomes, until nothing is left."""
        try:
            while True:
                while executor.free() and (unit := self._next(executor.pairs())) is not None:
                    if time.monotonic() > deadline:
                        raise StoppedError("The time budget is spent. The same command resumes.")
                    self.running.add(unit.hash)
                    self.watcher.started(unit)
                    executor.take(unit.hash, str(unit.place.get("pair", "")))
                if not self.running:
                    return
                for digest, outcome in executor.finished():
                    self.running.discard(digest)
                    self._receive(self.plan.units[digest], outcome)
        finally:
            executor.stop()

    def _next(self, at_hand: list[str]) -> Unit | None:
        """The first ready unit, preferably of a pair that a free worker has loaded."""
        ready = [unit for unit in self.missing if self._ready(unit)]
        near = [unit for unit in ready if unit.place.get("pair") in at_hand]
        if self.plan.spec.budget.resident is not None:  # a model is used for all that it can be, before another comes
            near.sort(key=lambda unit: unit.place.get("role") != self.role)
        chosen = next(iter([*near, *ready]), None)
        self.role = chosen.place.get("role") if chosen is not None else None
        return chosen

    def _ready(self, unit: Unit) -> bool:
        status = self.state.status
        return (
            status[unit.hash] == "missing"
            and unit.hash not in self.running
            and all(status[digest] == "done" for digest in unit.needed)
        )

    def _receive(self, unit: Unit, outcome: Outcome | Lost) -> None:
        if isinstance(outcome, Lost):
            self.lost[unit.hash] = self.lost.get(unit.hash, 0) + 1
            self.state.notes.setdefault(unit.hash, []).append(f"computed again elsewhere: {outcome.why}")
            if self.lost[unit.hash] < MOST_LOST:
                return
            outcome = Outcome(error={"kind": "Lost", "message": f"{MOST_LOST} times: {outcome.why}", "traceback": ""})
        self.state.seconds[unit.hash] = outcome.seconds
        if outcome.disk_full:
            raise StoppedError(
                f"The disk of {self.store.root} is full: {(outcome.error or {}).get('message')}. "
                "Free some space and run the same command again: it resumes."
            )
        if outcome.error is None:
            self.state.status[unit.hash] = "done"
            self._show(unit)
        else:
            self._fail(unit, outcome.error)
        self.watcher.finished(unit, outcome)

    def _fail(self, unit: Unit, error: dict[str, str]) -> None:
        """Mark a unit as failed, and with it all units that need it, directly or not."""
        self.state.status[unit.hash], self.state.errors[unit.hash] = "failed", error
        words = f"it needs {unit.id}, which failed: {error['message']}"
        lost = {unit.hash}
        for other in self.missing:  # each after those that it needs
            if lost & set(other.needed):
                lost.add(other.hash)
                self.state.status[other.hash] = "failed"
                self.state.errors[other.hash] = {"kind": "NeedFailed", "message": words, "traceback": ""}

    def _show(self, unit: Unit) -> None:
        """Link a unit's table, trace and figure under readable names."""
        try:
            stem = self.plan.stems[unit.hash]
            self.store.link(unit.hash, stem)
            if unit.measure:
                draw(self.store, unit.hash, stem, known_stage(unit.stage).serializer)
        except OSError as problem:
            words = f"{self.store.root} cannot be written: {problem}. Correct that and run the same command again."
            raise StoppedError(words) from None
        except Exception as problem:
            error = error_facts(problem)
            self.state.figures[unit.hash] = error["traceback"]
            self.state.notes.setdefault(unit.hash, []).append(f"no figure: {error['kind']}: {error['message']}")

    def _tell(self, circumstances: Circumstances) -> None:
        try:
            write_manifest(self.store, self.plan, self.state, circumstances)
        except OSError as problem:
            words = f"No manifest can be written in {self.store.root}: {problem}. "
            raise StoppedError(words + "Correct that and run the same command again: it resumes.") from None

    def _end(self, circumstances: Circumstances) -> tuple[Path | None, str]:
        """Write the manifest and the report; return its path, or why there is none."""
        try:
            self._tell(circumstances)
            self.watcher.reporting()
            return (None if self.state.run == "interrupted" else write_report(self.store.root)), ""
        except StoppedError as reason:
            self.state.run = "stopped"
            return None, str(reason)
        except Exception as problem:
            self.state.run = "stopped" if self.state.run == "stopped" else "failed"
            return None, f"The numbers are saved, but not the report: {type(problem).__name__}: {problem}"
