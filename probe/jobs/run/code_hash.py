"""A hash of the code that could have changed a number.

Someone who edits a measure and runs the job again expects that measure to be computed again. So the hash of a unit
covers the sources of `probe`, of the package that the stage's function comes from, and of the modules in the same
folder that it uses. The parts of Twinprobe that only display or schedule (command line, drawings, jobs) are left out:
they cannot change a number.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

FACES = {"probe": {"cli", "jobs", "zoo"}, "analyses": {"plots", "views"}}
_COMPILED = {".pyc", ".pyo"}


def code_of(make: Callable[..., Any]) -> str:
    """A hash of the code behind a function or a class."""
    while isinstance(make, partial):
        make = make.func
    module = getattr(make, "__module__", None) or "probe"
    package = module.partition(".")[0]
    parts = [_of_package("probe")]
    if package != "probe":
        parts.append(_of_package(package))
    parts += [_of_file(file) for file in sorted(_files_beside(module, package))]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def _files_beside(module: str, package: str) -> set[Path]:
    """The file of a module, and of those that it uses from the same folder; read each time, since they may be
    edited."""
    home, found, waiting = None, set(), [sys.modules.get(module)]
    while waiting:
        current = waiting.pop()
        file = getattr(current, "__file__", None)
        if current is None or file is None or (path := Path(file)) in found:
            continue
        home = home or path.parent
        if path.parent != home:
            continue
        found.add(path)
        if not hasattr(sys.modules.get(package), "__path__"):  # a package is hashed whole already
            waiting += [_module_of(value) for value in vars(current).values()]
    return found


def _module_of(value: Any) -> ModuleType | None:
    if isinstance(value, ModuleType):
        return value
    name = getattr(value, "__module__", None)
    return sys.modules.get(name) if isinstance(name, str) else None


def _of_file(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return f"{file.name} cannot be read"


@cache
def _of_package(name: str) -> str:
    """A hash of a package's files, without user interfaces; for a single module, of its file only."""
    package = import_module(name)
    if not hasattr(package, "__path__"):
        return name
    found, left_out = hashlib.sha256(), FACES.get(name, set())
    for folder in map(Path, package.__path__):
        for file in sorted(folder.rglob("*")):
            inner = file.relative_to(folder)
            if file.suffix in _COMPILED or "__pycache__" in inner.parts or left_out & set(inner.parts[:-1]):
                continue
            if file.is_file():
                found.update(f"{inner.as_posix()} {file.stat().st_size} ".encode())
                found.update(file.read_bytes())
    return found.hexdigest()
