"""Verifying a run: are the files unchanged, and do the same numbers come out again?

Every file of every unit is hashed and compared with its record, and the weights are compared with the manifest. A
sample of the measures is computed again, with everything that they need, in a temporary folder. Their tables are
compared as numbers: another machine may change the last digits, and nothing else.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from probe.errors import ProbeError
from probe.jobs.atomic import is_leftover
from probe.jobs.run.execute import execute
from probe.jobs.run.plan import Plan, plan_of
from probe.jobs.run.stage_inputs import WorkerContext
from probe.jobs.run.unit import Unit
from probe.jobs.run.unit_store import SHOWN, UnitStore
from probe.jobs.run_folder import REPORT, RunFolder, hash_of, open_run
from probe.jobs.spec.file import read_spec
from probe.jobs.stages.registry import known_stage


@dataclass(frozen=True)
class Finding:
    """One check. `trouble` is empty if it passed."""

    what: str
    trouble: str = ""


def verify(folder: str | Path, *, sample: int = 3, seed: int = 0, tell: Callable[[str], None] = print) -> list[Finding]:
    """Check a run: the hashes of all files, and a sample of its measures, computed again."""
    root = Path(folder)
    run = open_run(root)
    store, plan = UnitStore(root), plan_of(read_spec(root))
    done = {
        unit["hash"]: unit
        for unit in run.manifest.get("units", [])
        if unit.get("status") == "done" and isinstance(unit.get("hash"), str)
    }
    findings = [*_weights(plan, run.manifest), *_files(store, done), *_shown_files(run), *_same_code(plan, done)]
    chosen = [unit for unit in plan if unit.measure and unit.hash in done]
    chosen = random.Random(seed).sample(chosen, min(sample, len(chosen)))
    with tempfile.TemporaryDirectory(prefix="twinprobe-verify-") as fresh:
        context = WorkerContext(plan, Path(fresh))
        for unit in chosen:
            tell(f"making {unit.id} again")
            findings.append(_again(plan, unit, context, store))
    return findings


def _weights(plan: Plan, manifest: dict) -> list[Finding]:
    """Whether the current weights are those of the run."""
    listed = manifest.get("weights")
    then = {place: of for place, of in listed.items() if isinstance(of, dict)} if isinstance(listed, dict) else {}
    now = {model.place: model.sha256 for pair in plan.pairs.values() for model in pair.models.values()}
    changed = [place for place, digest in now.items() if then.get(place, {}).get("sha256") != digest]
    return [Finding(f"weights of {place}", "not those of the run" if place in changed else "") for place in now]


def _files(store: UnitStore, done: dict[str, dict]) -> list[Finding]:
    """Whether every unit's files are unchanged, and the linked results are the units' own."""
    found = []
    for digest, unit in done.items():
        trouble = store.damage(digest) or ""
        shown = unit.get("result")
        if not trouble and shown:
            trouble = _shown(store, digest, shown)
        found.append(Finding(f"files of {unit['id']}", trouble))
    return found


def _shown_files(run: RunFolder) -> list[Finding]:
    """Whether figures, traces, tables and report are unchanged."""
    files = run.manifest.get("files")
    if not isinstance(files, dict) or not files:
        return [Finding("files shown", "the manifest does not list them: the run was made by an earlier version")]
    found = [Finding(f"file {name}", run.changed(str(name))) for name in files]
    there = [file for folder in SHOWN for file in sorted((run.folder / folder).glob("*")) if not is_leftover(file)]
    named = [path for unit in run.done for path in (unit.result, unit.figure) if path]
    there = dict.fromkeys([*(f"{file.parent.name}/{file.name}" for file in there), *named])
    there |= dict.fromkeys(name for name in REPORT if (run.folder / name).exists())
    return found + [Finding(f"file {name}", "no run wrote it") for name in there if name not in files]


def _shown(store: UnitStore, digest: str, shown: str) -> str:
    own = next(store.folder(digest).glob("*.parquet"), None)
    if own is None:
        return f"{shown} is not the unit's, which has no table"
    try:
        same = hash_of(store.root / shown) == hash_of(own)
    except OSError as problem:
        return f"{shown}: {problem.strerror}"
    return "" if same else f"{shown} is not what the unit made"


def _same_code(plan: Plan, done: dict[str, dict]) -> list[Finding]:
    """Units with other hashes than the spec gives now were made by other code, weights or settings."""
    today = {unit.hash for unit in plan}
    other = [unit["id"] for digest, unit in done.items() if digest not in today]
    words = f"{len(other)} of {len(done)} units were made by other code, weights or settings than are here"
    return [Finding("the run is what spec and code give now", words if other else "")]


def _again(plan: Plan, unit: Unit, context: WorkerContext, store: UnitStore) -> Finding:
    """Compute a unit and those that it needs again, and compare."""
    what = f"made again: {unit.id}"
    fresh = UnitStore(context.root)
    fresh.units.mkdir(parents=True, exist_ok=True)
    for digest in _with_needs(plan, unit.hash):
        if fresh.record(digest) is None:
            outcome = execute(context, digest)
            if outcome.error is not None:
                return Finding(what, f"{plan.units[digest].id} failed: {outcome.error['message']}")
    try:
        found = known_stage(unit.stage).serializer.difference(store.folder(unit.hash), fresh.folder(unit.hash))
    except (OSError, ValueError, ProbeError) as problem:  # the files on disk cannot even be read
        return Finding(what, f"it cannot be compared: {problem}")
    return Finding(what, found or "")


def _with_needs(plan: Plan, digest: str) -> list[str]:
    """A unit's hash, after those of all that it needs."""
    found: dict[str, None] = {}
    for needed in plan.units[digest].needed:
        found |= dict.fromkeys(_with_needs(plan, needed))
    return [*found, digest]
