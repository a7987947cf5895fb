"""Computing one unit, in any process. An error becomes part of the outcome, not an exception.

Running out of memory is not yet a failure: the unit is computed again with half the rows per forward pass, with a note,
until even one row does not fit. A unit uses a fixed number of CPU threads and its own random seed, so its numbers do
not depend on what runs in parallel or ran before.
"""

from __future__ import annotations

import errno
import gc
import hashlib
import os
import random
import sys
import time
import traceback
import warnings
from dataclasses import dataclass, field
from typing import Any

from probe.errors import ProbeError
from probe.jobs.run.code_hash import code_of
from probe.jobs.run.stage_inputs import Inputs, WorkerContext
from probe.jobs.run.unit import Unit
from probe.jobs.run.unit_store import UnitStore
from probe.jobs.run.value_identity import digest_of
from probe.jobs.stages.registry import known_stage
from probe.jobs.stages.stage import Stage
from probe.memory import free_cache
from probe.progress import silenced

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a unit. `error` has kind, message and traceback."""

    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: dict[str, str] | None = None
    disk_full: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        return self.error is None


def execute(context: WorkerContext, digest: str) -> Outcome:
    """Compute a unit and put it in the store."""
    unit = context.plan.units[digest]
    began = time.perf_counter()
    notes: list[str] = []
    try:
        with silenced():  # the run has the screen
            facts = _done(context, unit, known_stage(unit.stage), notes)
    except Exception as problem:
        seconds = time.perf_counter() - began
        return Outcome(seconds, tuple(notes), error_facts(problem), disk_full(problem))
    return Outcome(facts["seconds"], tuple(notes), facts=facts)


def disk_full(problem: BaseException) -> bool:
    """Whether an exception means that the disk is full; libraries do not always keep its errno."""
    numbered = isinstance(problem, OSError) and problem.errno in FULL
    return numbered or os.strerror(errno.ENOSPC) in str(problem)


def error_facts(problem: BaseException) -> dict[str, str]:
    """An exception as a report shows it."""
    lines = traceback.format_exception(problem)
    return {"kind": type(problem).__name__, "message": str(problem), "traceback": "".join(lines)}


def _done(context: WorkerContext, unit: Unit, stage: Stage, notes: list[str]) -> dict[str, Any]:
    _refuse_other_code(unit, stage)
    _refuse_other_inputs(unit, context)
    context.begin(unit)
    store = UnitStore(context.root)
    with store.making(unit, resumes=stage.resumes) as folder:
        given = Inputs(context, unit, stage, folder, context.plan.spec.budget.batch)
        given.notes = notes
        began, computed, clock = time.perf_counter(), time.process_time(), time.time()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("default")
            product, given = _fitting(stage, given)
            stage.serializer.save(product, folder)
        notes += sorted({f"{type(one.message).__name__}: {one.message}" for one in warned})
        took = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - computed}
        facts = {**took, "started": clock, "notes": notes, "rows": given.rows}
        facts |= {"measure": unit.measure, "place": dict(unit.place), "label": unit.label, **_where(context)}
        store.commit(folder, unit, facts)
        return facts


def _refuse_other_code(unit: Unit, stage: Stage) -> None:
    """Refuse code that was edited after the run began: its numbers would be stored under the old code's hash."""
    if code_of(stage.make) != unit.made["code"]:
        raise ProbeError(
            f"unit {unit.id}",
            expected="the code that the run began with",
            found="code that was changed since",
            remedy="Run the same command again: it computes what the change affects.",
        )


def _refuse_other_inputs(unit: Unit, context: WorkerContext) -> None:
    """The same for files that are read again here, such as a task's."""
    spec = context.plan.spec
    if "task" in unit.place:
        _refuse_change(unit, "task", digest_of(spec.labelled["task"][str(unit.place["task"])].made()))
    if "tasks" in unit.made["settings"]:
        _refuse_change(unit, "settings", {**unit.made["settings"], "tasks": digest_of(spec.setting("tasks"))})


def _refuse_change(unit: Unit, what: str, now: Any) -> None:
    if now != unit.made[what]:
        raise ProbeError(
            f"unit {unit.id}",
            expected=f"the {what} that the run began with",
            found="a file that was changed since",
            remedy="Run the same command again: it computes what the change affects.",
        )


def _fitting(stage: Stage, given: Inputs) -> tuple[Any, Inputs]:
    """The product of a stage, computed in batches that fit."""
    _settle(given)
    while True:
        try:
            return stage.make(given), given
        except Exception as problem:
            rows = (given.rows or given.largest) // 2
            if not out_of_memory(problem) or rows < 1:
                raise
            given.note(f"out of memory with {given.rows or 'all'} rows at a time: continued with {rows}")
            given = given.with_rows(rows)
        _free()


def out_of_memory(problem: BaseException) -> bool:
    """Whether an exception means that memory ran out, on any device."""
    if isinstance(problem, MemoryError) or type(problem).__name__ == "OutOfMemoryError":
        return True
    return isinstance(problem, RuntimeError) and any(
        words in str(problem) for words in ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    )


def _free() -> None:
    gc.collect()
    free_cache()


def _settle(given: Inputs) -> None:
    """Set the threads and the seed of a unit."""
    import numpy as np
    import torch

    torch.set_num_threads(given.threads)
    seed = int.from_bytes(hashlib.sha256(given.unit.id.encode()).digest()[:4])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _where(context: WorkerContext) -> dict[str, Any]:
    """Where a unit ran, and its peak memory."""
    import resource

    import torch

    if torch.cuda.is_available() and context.device != "cpu":
        return {"device": torch.cuda.get_device_name(), "peak_bytes": torch.cuda.max_memory_allocated()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"device": "cpu", "peak_bytes": peak}
