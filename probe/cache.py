"""The user's cache: files that are fetched or made once and do not belong in a repository."""

from __future__ import annotations

import os
from pathlib import Path

from probe.errors import CheckpointError


def cache_folder() -> Path:
    """`twinprobe` in the user's cache folder: XDG_CACHE_HOME where it is set, else ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "twinprobe"


def cached(name: str) -> Path:
    """A file or folder in the cache, by its name there, or an error that says how to get it."""
    place = cache_folder() / name
    if len(name) < 200 and place.exists():
        return place
    raise CheckpointError(
        f"cache:{name}",
        expected=f"{place}, which `twinprobe fetch` makes",
        found="no such file or folder",
        remedy=f"Call: twinprobe fetch {name.partition('/')[0]}",
    )
