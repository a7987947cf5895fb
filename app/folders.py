"""The folders that the app was started with, and the runs and models in them. Nothing else on the machine is opened.

What reads their content is imported where it is used: the first page needs only the names of the folders.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from probe.errors import ProbeError

VARIABLE = "TWINPROBE_RUN"
DEEPEST = 3  # folders below a root in which models are looked for
MOST = 200  # folders that are looked into


def given() -> list[Path]:
    """The folders that were named on the command line, or else by the environment."""
    named = [word for word in sys.argv[1:] if not word.startswith("-")]
    named = named or list(filter(None, [os.environ.get(VARIABLE)]))
    return [Path(name).expanduser() for name in named]


def roots() -> list[Path]:
    """Where to look for runs: in the folders that were named, or in the current one."""
    return given() or [Path.cwd()]


def runs() -> list[str]:
    """The runs in the roots; links that lead out of them are not followed."""
    from probe.jobs.run_folder import nearby

    found = ((path, place) for place in roots() for path in nearby(place))
    return list(dict.fromkeys(str(path) for path, place in found if path.resolve().is_relative_to(place.resolve())))


def twins() -> list[str]:
    """The diffusion models in the folders that were named, if their AR model is a shipped one or in them too."""
    return [str(path) for root in given() for path in _models(root) if _is_twin(path)]


def _models(root: Path) -> list[Path]:
    """The folders below a root that have a model's declaration."""
    from probe.models.catalog import OWN_ENTRY

    found: list[Path] = []
    for number, (folder, below, files) in enumerate(os.walk(root)):  # which follows no links
        if number >= MOST:
            break
        if len(Path(folder).relative_to(root).parts) >= DEEPEST:
            below.clear()
        below.sort()
        if OWN_ENTRY in files:
            found.append(Path(folder))
    return found


def _is_twin(folder: Path) -> bool:
    from probe.models.source import Source

    try:
        entry = Source(str(folder)).entry
    except ProbeError:
        return False
    if entry is None or not entry.ar:
        return False
    places = [Path(entry.ar).expanduser(), *(Path(one).expanduser() for one in entry.controls.values())]
    return all(str(place).startswith("zoo:") or _within(place) for place in places)


def _within(place: Path) -> bool:
    return any(place.resolve().is_relative_to(root.resolve()) for root in given())
