"""Folders that this program made, and writing in them without following links out of them.

A run overwrites and removes files, so it has to be sure that they are its own. A run folder has a marker, a file that
is written before anything else. A non-empty folder without a marker is refused, whatever its name. A folder may also
come from another person, with links where a run would write (`results` → a home folder). So the folders that a run
writes into must be real ones, files are replaced rather than opened, and links are never written through.

    claim(Path("runs/demo"))        # creates it, or accepts it, or raises a ProbeError
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from probe.errors import ProbeError
from probe.outside_files import is_file

MARKER = ".twinprobe-run"
INNER = ("units", ".scratch", "results", "figures", "traces")
_WORDS = (
    "This folder is a run of Twinprobe, which overwrites and removes what it wrote here. Keep your own files out.\n"
)


def claim(root: Path) -> None:
    """Make a run folder, or accept one that an earlier run made; any other non-empty folder is refused."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not any(root.iterdir()):
            _write_marker(root)
    except (OSError, ValueError) as problem:
        raise ProbeError(
            f"run folder {root}",
            expected="a folder that can be written",
            found="a file" if is_file(root) else str(problem),
            remedy="Choose another with --out.",
        ) from None
    refuse_foreign(root)


def refuse_foreign(root: Path) -> None:
    """Refuse a folder that no run made, or that has links to elsewhere."""
    if not _is_file(root / MARKER):
        raise ProbeError(
            f"run folder {root}",
            expected=f"a new or empty folder, or that of an earlier run (it holds {MARKER})",
            found="other things",
            remedy="Choose another with --out.",
        )
    for name in INNER:
        inner = root / name
        if inner.is_symlink() or (inner.exists() and not inner.is_dir()):
            raise ProbeError(
                f"run folder {root}",
                expected=f"a real folder {name}",
                found="a link" if inner.is_symlink() else "a file",
                remedy=f"Remove {name}, or choose another folder with --out.",
            )


def open_without_following(file: Path, flags: int) -> int:
    """Open a file of the run; a soft or hard link in its place is refused."""
    try:
        handle = os.open(file, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
        found = os.fstat(handle)
        if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:
            return handle
        os.close(handle)
        raise ProbeError(
            f"file {file}",
            expected="a file that the run made",
            found="a hard link to another" if stat.S_ISREG(found.st_mode) else "a pipe or a device",
            remedy="Remove it, or choose another folder with --out.",
        )
    except OSError as problem:
        if file.is_symlink() or file.is_dir():
            raise ProbeError(
                f"file {file}",
                expected="a file that the run made",
                found="a link" if file.is_symlink() else "a folder",
                remedy="Remove it, or choose another folder with --out.",
            ) from None
        raise problem


def holds_links(folder: Path) -> bool:
    """Whether a folder is a link, or has one at any depth."""
    return folder.is_symlink() or _links_within(folder)


def _links_within(folder: str | Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(
                entry.is_symlink() or (entry.is_dir(follow_symlinks=False) and _links_within(entry.path))
                for entry in entries
            )
    except OSError:  # what cannot be listed is found by whoever reads it
        return False


def leads_out(folder: Path) -> bool:
    """Whether a folder has a soft or hard link through which writing would change a file elsewhere."""
    return holds_links(folder) or any(
        (Path(at) / name).lstat().st_nlink > 1 for at, _, files in os.walk(folder) for name in files
    )


def _write_marker(root: Path) -> None:
    try:
        handle = os.open(root / MARKER, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    except FileExistsError:  # another run did the same; the lock decides between them
        return
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        opened.write(_WORDS)


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
