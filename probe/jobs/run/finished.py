"""A finished run: the same command again says so at once, and changes nothing.

A user who repeats a command after a week wants to see that everything is there. Units are always checked by their
hashes. But writing manifest, figures and report again takes longer than all checks. So a run that ended well records
its state: its spec and units, the files that it shows (by size, time and inode), and the sources that make them. If
none of these has changed, there is nothing to do.

    note_finished(store, plan)       at the end of a run that is complete
    is_finished(store, plan)         whether everything that it shows is unchanged

After any change (another version of the code, a deleted figure, a new question in the spec) they are written again. The
record is a file in the run's scratch folder; deleting it costs five seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
from importlib import import_module
from pathlib import Path

from probe.errors import ProbeError
from probe.jobs.atomic import write_atomically
from probe.jobs.run.plan import Plan
from probe.jobs.run.unit_store import SHOWN, UnitStore
from probe.jobs.run_folder import FILE, MANIFEST, REPORT
from probe.jobs.spec.file import as_yaml
from probe.jobs.stages.registry import known_stage

NOTE = "finished.json"


def note_finished(store: UnitStore, plan: Plan) -> None:
    """Record a run's final state."""
    write_atomically(store.scratch / NOTE, json.dumps({"sha256": _state(store, plan)}))


def is_finished(store: UnitStore, plan: Plan) -> bool:
    """Whether a run of this plan ended well here, and everything that it left is unchanged."""
    try:
        noted = FILE.object(store.scratch / NOTE).get("sha256")
    except ProbeError:
        return False
    return noted == _state(store, plan)


def _state(store: UnitStore, plan: Plan) -> str:
    shown = [store.root / name for name in (MANIFEST, *REPORT)]
    shown += sorted(file for folder in SHOWN for file in (store.root / folder).iterdir())
    facts = {
        "spec": as_yaml(plan.spec),
        "units": dict(plan.stems),
        "skipped": dict(plan.skipped),
        "shown": [_of_file(file, store.root) for file in shown],
        "code": [_of_file(file, folder) for folder in _sources(plan) for file in sorted(folder.rglob("*.*"))
                 if file.suffix != ".pyc"],
    }  # fmt: skip
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _sources(plan: Plan) -> list[Path]:
    """The folders of `probe` and of the packages of the plan's stages, which have the drawings."""
    stages = {unit.stage for unit in plan}
    makers = {getattr(known_stage(name).make, "__module__", None) or "probe" for name in stages}
    names = {maker.partition(".")[0] for maker in makers} | {"probe"}
    packages = map(import_module, sorted(names))
    return sorted(Path(folder) for package in packages for folder in getattr(package, "__path__", ()))


def _of_file(file: Path, root: Path) -> list[str | int]:
    """Identifies a file, to detect changes."""
    name = str(file.relative_to(root))
    try:
        stat = os.lstat(file)
    except OSError:
        return [name]
    return [name, stat.st_size, stat.st_mtime_ns, stat.st_ino]
