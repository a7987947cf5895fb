"""A hash of the code that could have changed a number.

Someone who edits a measure and runs the job again expects that measure to be computed again. So the hash of a unit
covers the sources of `probe` and of the package that the stage's function comes from. The parts that only show or
schedule (command line, drawings, jobs) are left out: they cannot change a number.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

FACES = {"cli", "jobs", "plots", "zoo"}
_READ = {".py", ".yaml", ".txt", ".json"}


def code_of(make: Callable[..., Any]) -> str:
    """A hash of the code behind a stage's function."""
    module = getattr(make, "__module__", None) or "probe"
    own = getattr(sys.modules.get(module), "__file__", None)
    parts = [_of_package("probe")]
    if module.partition(".")[0] != "probe":
        parts.append(_of_package(module.partition(".")[0]))
    if own:
        parts.append(hashlib.sha256(Path(own).read_bytes()).hexdigest())
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


@cache
def _of_package(name: str) -> str:
    """A hash of a package's sources, faces left out; of a module, nothing beyond its own file."""
    package = import_module(name)
    if not hasattr(package, "__path__"):
        return name
    found = hashlib.sha256()
    for folder in map(Path, package.__path__):
        for file in sorted(folder.rglob("*")):
            inner = file.relative_to(folder)
            if file.suffix in _READ and file.is_file() and not FACES & set(inner.parts[:-1]):
                found.update(f"{inner.as_posix()} {file.stat().st_size} ".encode())
                found.update(file.read_bytes())
    return found.hexdigest()
