"""The provenance of a run, read from its manifest: versions, machine, time, and the command that repeats it.

A manifest may come from another version, or be edited by hand. Missing fields are left out, those of another form are
shown as text, and nothing here raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe.errors import ProbeError
from probe.jobs.report import formatting
from probe.jobs.run_folder import SPEC, SPEC_FILE, RunFolder

Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Weights:
    """The weights of one model: what they are, where they come from, and their hash."""

    model: str
    described: str
    sha256: str
    note: str = ""
    roles: str = ""
    recipe: str = ""
    files: Facts = ()


@dataclass(frozen=True)
class Provenance:
    """How a run was made; an empty text means not known."""

    command: str
    started: str
    took: str
    computed: str  # CPU time of its units, over all sessions of the run
    machine: str
    circumstances: Facts
    versions: Facts
    weights: tuple[Weights, ...]
    spec: str


def provenance(run: RunFolder) -> Provenance:
    """Read how a run was made."""
    manifest = run.manifest
    device, git = (_mapping(manifest.get(name)) for name in ("device", "git"))
    spec = run.folder / SPEC
    return Provenance(
        command=_text(manifest.get("command")),
        started=_text(manifest.get("started")),
        took=formatting.duration(manifest["seconds"]) if manifest.get("seconds") else "",
        computed=_computed(run),
        machine=_machine(device),
        circumstances=_circumstances(manifest, device, git),
        versions=_facts(_mapping(manifest.get("versions"))),
        weights=tuple(_weights(name, of) for name, of in _mapping(manifest.get("weights")).items()),
        spec=_read(spec),
    )


def _read(spec: Path) -> str:
    try:
        return SPEC_FILE.text(spec)
    except ProbeError:
        return ""


def _computed(run: RunFolder) -> str:
    spent = [formatting.as_float(unit.record.get("cpu_seconds")) for unit in run.units]
    total = sum(seconds for seconds in spent if seconds == seconds)
    return formatting.duration(total) if total else ""


def _machine(device: Mapping[str, Any]) -> str:
    name, cores = _text(device.get("name") or device.get("kind")), _text(device.get("cores"))
    return f"{name}, {cores} cores" if name and cores else name


def _circumstances(manifest: Mapping[str, Any], device: Mapping[str, Any], git: Mapping[str, Any]) -> Facts:
    facts = {name: manifest.get(name) for name in ("state", "started", "finished", "seeds", "on", "workers")}
    source = {"commit": git.get("commit"), "tree": "changed since that commit" if git.get("dirty") else None}
    return _facts({**facts, **{f"device {name}": value for name, value in device.items()}, **source})


_OWN_COLUMNS = {"sha256", "note", "roles", "recipe", "files", "described", "made_from"}


def _weights(name: str, of: Any) -> Weights:
    if not isinstance(of, Mapping):
        return Weights(name, "", _text(of))
    others = (f"{formatting.heading(key).lower()} {_text(of[key])}" for key in of if key not in _OWN_COLUMNS)
    source, note = _text(of.get("made_from")), _text(of.get("note"))
    notes = [note, f"made from {source}" if source and source not in note else ""]
    return Weights(
        model=name,
        described=_text(of.get("described")) or ", ".join(others),
        sha256=_text(of.get("sha256")),
        note="; ".join(filter(None, notes)),
        roles=_text(of.get("roles")),
        recipe=_text(of.get("recipe")),
        files=_facts(_mapping(of.get("files"))),
    )


def _facts(facts: Mapping[str, Any]) -> Facts:
    return tuple((str(name), _text(value)) for name, value in facts.items() if value not in (None, "", []))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return formatting.number(value) if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
