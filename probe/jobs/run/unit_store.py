"""Units on disk: a unit's folder is complete, or not there.

A unit is written into a scratch folder and moved to `units/HASH` by one rename, with a record of what determined its
numbers, how long it took, and the SHA-256 of every file. So whenever a job is killed, everything under `units` is
complete. A file that is damaged later no longer matches its hash, and the unit is computed again. Everything is flushed
to disk before the rename; otherwise a power cut could leave the name without the content.

`results/`, `figures/` and `traces/` have the units of the current spec under readable names, as links into `units`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from probe.errors import ProbeError
from probe.jobs.atomic import PART, is_leftover
from probe.jobs.own_folder import INNER, holds_links, leads_out, open_without_following
from probe.jobs.run.unit import Unit
from probe.jobs.run_folder import FILE

RECORD = "unit.json"
LINKED = {".parquet": "results", ".zarr": "traces"}
SHOWN = {"results": ".parquet", "figures": ".json", "traces": ".zarr"}
_LEFTOVER = re.compile(r"[0-9a-f]{20}-|damaged-")
PATIENCE = 30.0  # seconds for which a killed run's last worker may still use a scratch folder


class UnitStore:
    """The units of one run folder."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.units, self.scratch = self.root / "units", self.root / ".scratch"

    def prepare(self) -> None:
        """Make the folders; leftovers of a killed run are removed."""
        for name in INNER:
            (self.root / name).mkdir(exist_ok=True)
        for folder in (self.root, self.scratch, *(self.root / name for name in SHOWN)):
            for leftover in filter(is_leftover, folder.iterdir()):
                if leftover.is_symlink() or leftover.is_file():
                    leftover.unlink(missing_ok=True)
        for leftover in self.scratch.iterdir():
            if leftover.is_symlink() or leftover.suffix == ".lock":
                leftover.unlink(missing_ok=True)
            elif _LEFTOVER.match(leftover.name) or (leftover.name.startswith("resumes-") and leads_out(leftover)):
                shutil.rmtree(leftover, ignore_errors=True)

    def folder(self, digest: str) -> Path:
        return self.units / digest

    def record(self, digest: str) -> dict[str, Any] | None:
        """The record of a unit; None if it is missing or damaged."""
        try:
            written = FILE.object(self.folder(digest) / RECORD)
            return written["record"] if written["sha256"] == _of_json(written["record"]) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def damage(self, digest: str) -> str | None:
        """What is wrong with a unit; None if it is complete. Reads every byte of it."""
        folder = self.folder(digest)
        if not folder.is_dir():
            return "it is not there"
        if holds_links(folder):
            return "it holds a link"
        record = self.record(digest)
        if record is None:
            return f"{RECORD} is damaged or missing"
        found = contents(folder)
        if found.keys() != record["files"].keys():
            return "files are missing or were added: " + ", ".join(sorted(found.keys() ^ record["files"].keys()))
        changed = [name for name in found if found[name] != record["files"][name]]
        return f"{', '.join(changed)} is not what was written" if changed else None

    @contextmanager
    def making(self, unit: Unit, *, resumes: bool = False) -> Iterator[Path]:
        """A scratch folder for a unit, removed if the unit fails (unless its stage can resume from it)."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        if resumes:
            folder = self.scratch / f"resumes-{unit.hash}"
            folder.mkdir(exist_ok=True)
            with _held(self.scratch / f"resumes-{unit.hash}.lock", PATIENCE):
                yield folder
                shutil.rmtree(folder, ignore_errors=True)
            return
        folder = Path(tempfile.mkdtemp(prefix=f"{unit.hash}-", dir=self.scratch))
        folder.chmod(0o755)  # it becomes the unit's folder, with the run's permissions
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, folder: Path, unit: Unit, facts: Mapping[str, Any]) -> None:
        """Move a finished scratch folder to its place, with its record."""
        record = {"id": unit.id, "stage": unit.stage, "made": unit.made, "needs": unit.needed, **facts}
        record = FILE.object_of(json.dumps({**record, "files": contents(folder)}, default=str), folder)
        (folder / RECORD).write_text(json.dumps({"record": record, "sha256": _of_json(record)}, indent=1), "utf-8")
        _flush(folder)
        place = self.folder(unit.hash)
        while True:
            try:
                os.rename(folder, place)
                break
            except OSError:
                if not place.exists():
                    raise
                aside = tempfile.mkdtemp(prefix="damaged-", dir=self.scratch)
                os.rename(place, Path(aside) / "unit")
                shutil.rmtree(aside, ignore_errors=True)
        _flush_folder(self.units)

    def link(self, digest: str, stem: str) -> None:
        """Link a unit's table or trace under a readable name."""
        for file in sorted(self.folder(digest).iterdir()):
            if file.suffix in LINKED:
                _link(file, self.root / LINKED[file.suffix] / f"{stem}{file.suffix}")

    def unlink(self, shown: Iterable[str]) -> None:
        """Remove some of the readable links; other files in those folders are not the run's."""
        for relative in shown:
            folder, _, name = relative.partition("/")
            file = self.root / folder / name
            if folder not in SHOWN or "/" in name or name in ("", ".", "..") or not os.path.lexists(file):
                continue
            if file.is_symlink() or file.is_file():
                file.unlink()

    def shown(self, digest: str, stem: str) -> dict[str, dict[str, Any]]:
        """Size and hash of a unit's shown files: for links from its record, for the figure as it is."""
        files = (self.record(digest) or {}).get("files", {})
        found = {
            f"{LINKED[suffix]}/{stem}{suffix}": of
            for name, of in files.items()
            if (suffix := Path(name).suffix) in LINKED
        }
        figure = f"figures/{stem}.json"
        if (self.root / figure).is_file():
            found[figure] = _hashed(self.root / figure)
        return found


def contents(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of the files in a unit's folder; a subfolder counts as one."""
    return {name: _hashed(folder / name) for name in sorted(os.listdir(folder)) if name != RECORD}


def _hashed(entry: Path) -> dict[str, Any]:
    if entry.is_file():
        return _of_file(entry)
    total, found = 0, hashlib.sha256()
    for parts, path in sorted(_files(str(entry), ())):
        one = _of_file(path)
        total += one["bytes"]
        found.update(f"{'/'.join(parts)} {one['sha256']}\n".encode())
    return {"sha256": found.hexdigest(), "bytes": total}


def _of_file(file: str | Path) -> dict[str, Any]:
    with open(file, "rb", buffering=0) as opened:
        return {"sha256": hashlib.file_digest(opened, "sha256").hexdigest(), "bytes": os.fstat(opened.fileno()).st_size}


def _files(folder: str, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The files of a folder at any depth: names from the folder on, and path. A run has thousands, so no `Path`s."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, (*above, entry.name))
            elif entry.is_file():
                yield (*above, entry.name), entry.path


def _of_json(record: Any) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            _flush_file(path)
        else:
            _flush_folder(path)
    _flush_folder(folder)


def _flush_file(path: Path) -> None:
    with path.open("rb") as opened:
        os.fsync(opened.fileno())


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _link(source: Path, target: Path) -> None:
    """A hard link to a file (or a copy if the disk has no hard links), a relative symbolic one to a folder."""
    temporary = target.with_name(f"{PART}{os.getpid()}-{target.name}"[:200])
    temporary.unlink(missing_ok=True)
    if source.is_dir():
        temporary.symlink_to(os.path.relpath(source, target.parent), target_is_directory=True)
    else:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
    os.replace(temporary, target)
    temporary.unlink(missing_ok=True)  # replacing a link by another to the same file leaves both


@contextmanager
def _held(file: Path, patience: float) -> Iterator[None]:
    """A lock of the operating system, which ends with its process."""
    with os.fdopen(open_without_following(file, os.O_WRONLY | os.O_CREAT), "w") as opened:
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise ProbeError(
                        f"unit in {file}",
                        expected="one process that works on it",
                        found="another one that still does",
                        remedy="End it, or wait until it has finished.",
                    ) from None
                time.sleep(0.05)
        yield
