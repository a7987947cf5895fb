"""The manifest: the provenance of a run, for someone who wants to check its numbers.

It lists everything that a number depends on: package versions, the state of the code, the weights by their hashes, the
seeds, the device. For each unit it says what determined its numbers, when and where it was computed, how long it took,
and its error if it failed.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from probe.jobs.atomic import write_atomically
from probe.jobs.run.plan import Plan
from probe.jobs.run.unit import Unit
from probe.jobs.run.unit_store import SHOWN, UnitStore
from probe.jobs.run_folder import FILE, MANIFEST, REPORT, RunError

FORMAT = 1
PACKAGES = (
    *("twinprobe", "torch", "transformers", "safetensors", "numpy", "scipy", "scikit-learn", "pandas", "pyarrow"),
    *("xarray", "zarr", "plotly", "transformer-lens", "nnsight", "pydantic", "ray"),
)


@dataclass
class State:
    """The state of a run: each unit's status, with details."""

    status: dict[str, str]  # hash → done, failed, missing
    errors: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    cached: set[str] = field(default_factory=set)
    seconds: dict[str, float] = field(default_factory=dict)
    figures: dict[str, str] = field(default_factory=dict)  # hash → the error of its figure
    run: str = "running"

    def counts(self) -> dict[str, int]:
        found = list(self.status.values())
        return {status: found.count(status) for status in ("done", "failed", "missing")}


@dataclass(frozen=True)
class Circumstances:
    """Facts about the whole run."""

    command: str
    on: str
    workers: int
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    git: dict[str, Any] | None = field(default_factory=lambda: git_state())


def write_manifest(store: UnitStore, plan: Plan, state: State, circumstances: Circumstances) -> dict[str, Any]:
    """Write the current state of a run, replacing the earlier one."""
    spec, now = plan.spec, datetime.now(UTC)
    units = [_unit(store, plan, unit, state, circumstances.command) for unit in plan]
    done = [digest for digest, status in state.status.items() if status == "done"]
    shown = {path: of for digest in done for path, of in store.shown(digest, plan.stems[digest]).items()}
    units += [_skipped(name, why) for name, why in plan.skipped.items()]
    written = {
        "format": FORMAT,
        "name": spec.name,
        "question": spec.question,
        "state": state.run,
        "counts": state.counts() | {"skipped": len(plan.skipped)},
        "command": circumstances.command,
        "started": circumstances.started.isoformat(timespec="seconds"),
        "finished": None if state.run == "running" else now.isoformat(timespec="seconds"),
        "seconds": round((now - circumstances.started).total_seconds(), 3),
        "on": circumstances.on,
        "workers": circumstances.workers,
        "versions": dict(versions()),
        "git": circumstances.git,
        "device": _device(spec.device),
        "seeds": list(spec.seeds),
        "weights": _weights(plan),
        "units": units,
        "shown": [f"{folder}/{stem}{suffix}" for stem in plan.stems.values() for folder, suffix in SHOWN.items()],
        "files": {**_former_report(store.root), **shown},
    }
    write_atomically(store.root / "manifest.json", json.dumps(written, indent=1, ensure_ascii=False, default=str))
    return written


def shown_before(root: Path) -> list[str]:
    """The files listed in the existing manifest: the only ones that a run may remove."""
    try:
        shown = FILE.object(root / MANIFEST).get("shown")
    except RunError:
        return []
    return [str(path) for path in shown] if isinstance(shown, list) else []


def _former_report(root: Path) -> dict[str, Any]:
    """The hashes of the existing report, which stays until another is written."""
    try:
        files = FILE.object(root / MANIFEST).get("files")
    except RunError:
        return {}
    return {name: of for name, of in files.items() if name in REPORT} if isinstance(files, dict) else {}


def _unit(store: UnitStore, plan: Plan, unit: Unit, state: State, command: str) -> dict[str, Any]:
    status = state.status[unit.hash]
    record = store.record(unit.hash) if status == "done" else None
    record = record or {}
    name = plan.stems[unit.hash]
    done = status == "done" and unit.measure
    table, figure = (
        path if done and (store.root / path).exists() else None
        for path in (f"results/{name}.parquet", f"figures/{name}.json")
    )
    place = {axis: unit.place.get(axis) for axis in ("pair", "role", "task", "reading", "seed")}
    return {
        "id": unit.id,
        "kind": "measure" if unit.measure else "shared",
        "measure": unit.label,
        **place,
        "hash": unit.hash,
        "status": status,
        "result": table,
        "figure": figure,
        "sha256": next((of["sha256"] for of in _tables(record)), None),
        "command": f"{command} --only '{unit.id}'",
        "cached": unit.hash in state.cached,
        "seconds": record.get("seconds", state.seconds.get(unit.hash)),
        "cpu_seconds": record.get("cpu_seconds"),
        "started": record.get("started"),
        "device": record.get("device"),
        "peak_bytes": record.get("peak_bytes"),
        "notes": [*record.get("notes", []), *state.notes.get(unit.hash, [])],
        "error": state.errors.get(unit.hash),
        "needs": [plan.units[digest].id for digest in unit.needed],
        "made": dict(unit.made),
        "files": record.get("files", {}),
    }


def _tables(record: dict[str, Any]) -> list[dict[str, Any]]:
    return [of for file, of in record.get("files", {}).items() if file.endswith(".parquet")]


def _skipped(name: str, why: str) -> dict[str, Any]:
    measure = name.partition("/")[0]
    error = {"kind": "skipped", "message": why, "traceback": ""}
    return {"id": name, "kind": "measure", "measure": measure, "status": "skipped", "error": error, "notes": []}


def _weights(plan: Plan) -> dict[str, Any]:
    """Each model once, with its roles in the pairs."""
    found: dict[str, Any] = {}
    for name, pair in plan.pairs.items():
        for role, model in pair.models.items():
            facts = {"sha256": model.sha256, "paradigm": model.paradigm, "parameters": model.parameters, **model.facts}
            found.setdefault(model.place, {**facts, "roles": []})["roles"].append(f"{role} of {name}")
    return found


@cache
def versions() -> dict[str, str]:
    """The environment of this process, looked up once, since a run writes many manifests."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_state() -> dict[str, Any] | None:
    """The commit of the checkout that the code runs from, and whether it was changed since; None outside of one."""
    here = Path(__file__).resolve().parents[3]

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "probe/jobs/run/manifest.py")  # an installed copy is not part of a checkout
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _device(device: str) -> dict[str, Any]:
    import torch

    cores, system = os.cpu_count(), f"{platform.system()} {platform.machine()}"
    if device != "cpu" and torch.cuda.is_available():
        gpus = {"name": torch.cuda.get_device_name(), "count": torch.cuda.device_count()}
        return {"kind": "cuda", **gpus, "cores": cores, "system": system}
    return {"kind": "cpu", "name": _processor(), "cores": cores, "system": system}


def _processor() -> str:
    """The processor's name, which Linux has only in a file."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
