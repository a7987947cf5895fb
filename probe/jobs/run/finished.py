"""A run to which nothing is to be added: the same command again says so at once, and touches nothing.

Whoever gives a command again after a week wants to see that all is there. Units are checked by their hashes, always.
But manifest, figures and report are made from them, and making these again takes longer than all checks. So when a run
has ended well, it notes what it ended with: its spec and units, the files that it shows (by size, time and inode), and
the sources that make them. Where all of that is still so, there is nothing to make.

    note_finished(store, plan)       at the end of a run that is complete
    is_finished(store, plan)         whether everything that it shows is as that run left it

Anything else (another version of the code, a figure that somebody deleted, a new question in the spec) makes the whole
end anew. The note is a file in the run's scratch folder; who deletes it loses five seconds.
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
    """Remember what a run ended with."""
    write_atomically(store.scratch / NOTE, json.dumps({"sha256": _state(store, plan)}))


def is_finished(store: UnitStore, plan: Plan) -> bool:
    """Whether a run of this plan ended well here, and all that it left is as it was."""
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
    """The folders of `probe` and of the packages that the plan's stages come from: their drawings are in them."""
    stages = {unit.stage for unit in plan}
    makers = {getattr(known_stage(name).make, "__module__", None) or "probe" for name in stages}
    names = {maker.partition(".")[0] for maker in makers} | {"probe"}
    packages = map(import_module, sorted(names))
    return sorted(Path(folder) for package in packages for folder in getattr(package, "__path__", ()))


def _of_file(file: Path, root: Path) -> list[str | int]:
    """What tells that a file is the one that it was."""
    name = str(file.relative_to(root))
    try:
        stat = os.lstat(file)
    except OSError:
        return [name]
    return [name, stat.st_size, stat.st_mtime_ns, stat.st_ino]
