"""The folders that the app was started with, and the runs in them. Nothing else on the machine is opened."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from probe.jobs.run_folder import nearby

VARIABLE = "TWINPROBE_RUN"


def given() -> list[Path]:
    """The folders that were named on the command line, or else by the environment."""
    named = [word for word in sys.argv[1:] if not word.startswith("-")]
    named = named or list(filter(None, [os.environ.get(VARIABLE)]))
    return [Path(name).expanduser() for name in named]


def roots() -> list[Path]:
    """Where runs are looked for: in the folders that were named, or where the app was started."""
    return given() or [Path.cwd()]


def runs() -> list[str]:
    """The runs in the roots; links that lead out of them are not followed."""
    found = ((path, place) for place in roots() for path in nearby(place))
    return list(dict.fromkeys(str(path) for path, place in found if path.resolve().is_relative_to(place.resolve())))
