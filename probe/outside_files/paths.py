"""Whether something is there, asked of a path that may be no path at all.

A path from a file or from a form can be 5,000 characters long or hold a null byte; pathlib then raises instead of
answering. Here the answer is no.
"""

from __future__ import annotations

from pathlib import Path


def is_file(path: str | Path) -> bool:
    """Whether there is a file; no where the path itself cannot be one."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder; no where the path itself cannot be one."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def is_there(path: str | Path) -> bool:
    """Whether there is anything; no where the path itself cannot be one."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False
