"""A job's cost, measured on a few prompts of its own models instead of counted (`twinprobe run --dry-run --measure`).

Arithmetic does not know what a stage does besides passes: resampling, sorting, fitting, decoding step by step. So the
job itself is done in a folder that is thrown away, with the spec's first pair, task, reading and seed, for a few
prompts and for more of them. Of each stage and role the time and the bytes on disk are then a straight line in the
number of prompts: what it takes anyway, and what a prompt adds. Memory grows in a line up to the rows of one pass. A
stage that fails on so few prompts keeps its counted estimate.

    measured(spec, plan, counted)       # the estimates of `cost`, with those that could be measured in their place

It costs the loading of the models three times and some forty prompts of every stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from probe.jobs.run.cost import AT_ONCE, Cost
from probe.jobs.run.execute import execute
from probe.jobs.run.plan import Plan, plan_of
from probe.jobs.run.stage_inputs import WorkerContext
from probe.jobs.run.unit import Unit
from probe.jobs.run.unit_store import UnitStore

if TYPE_CHECKING:
    from probe.jobs.spec.model import Spec

PROMPTS = (4, 8, 24)  # the first time a stage is slow, since it loads what it needs, and counts for nothing

Kind = tuple[str, str]  # a stage's label, and the role if it is done for each


@dataclass(frozen=True)
class Took:
    """What a unit took."""

    seconds: float
    memory: int
    disk: int


def measured(spec: Spec, plan: Plan, counted: Mapping[str, Cost]) -> dict[str, Cost]:
    """The cost of each unit of a plan by hash, measured where it could be."""
    _, few, more = (_taken(_smaller(spec, prompts)) for prompts in PROMPTS)
    found = dict(counted)
    for unit in plan:
        kind = _kind(unit)
        if unit.hash in found and kind in few and kind in more:
            found[unit.hash] = _extrapolated(spec, few[kind], more[kind], counted[unit.hash])
    return found


def _smaller(spec: Spec, prompts: int) -> Spec:
    """The job on a few prompts, at the first place of its grid."""
    budget = spec.budget.model_copy(update={"examples": min(prompts, spec.budget.examples), "minutes": None})
    first = {axis: getattr(spec, axis)[:1] for axis in ("pairs", "tasks", "readings", "seeds")}
    return spec.model_copy(update={**first, "budget": budget})


def _taken(spec: Spec) -> dict[Kind, Took]:
    """What each kind of unit of a job took, of those that could be done."""
    found: dict[Kind, Took] = {}
    with TemporaryDirectory(prefix="twinprobe-") as scratch:
        root = Path(scratch)
        store, plan = UnitStore(root), plan_of(spec)
        store.prepare()
        context = WorkerContext(plan, root)
        for unit in plan:
            if all(store.folder(digest).is_dir() for digest in unit.needed):
                outcome = execute(context, unit.hash)
                if outcome.done:
                    found[_kind(unit)] = _of(outcome.facts, store.folder(unit.hash))
    return found


def _of(facts: Mapping[str, Any], folder: Path) -> Took:
    """A CPU's computing time, whatever else the machine does; the clock's where a GPU does the work."""
    seconds = facts["cpu_seconds" if facts["device"] == "cpu" else "seconds"]
    disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Took(seconds, int(facts["peak_bytes"]), disk)


def _kind(unit: Unit) -> Kind:
    return unit.label, str(unit.place.get("role", ""))


def _extrapolated(spec: Spec, few: Took, more: Took, counted: Cost) -> Cost:
    """The line through two measurements, at the job's own number of prompts."""
    examples = spec.budget.examples
    low, high = (min(prompts, examples) for prompts in PROMPTS[1:])
    rows = min(spec.budget.batch or AT_ONCE, examples)

    def at(prompts: int, first: float, second: float) -> float:
        slope = max(0.0, (second - first) / (high - low)) if high > low else 0.0
        return max(second, first) + slope * max(0, prompts - high)

    return Cost(
        seconds=at(examples, few.seconds, more.seconds),
        memory=int(at(rows, few.memory, more.memory)),
        disk=int(at(examples, few.disk, more.disk)),
        passing=counted.passing,
    )
