"""Other installed packages: extensions that they declare, and the optional ones that the project can use.

Your own package adds a paradigm, a task or an architecture by one line of its pyproject.toml, without a change to the
project:

    [project.entry-points."twinprobe.tasks"]
    capitals = "my_package:Capitals"

The entry's name is the name that users write. `Installed` maps such names to objects: the project's own first, then
those of others, each imported when it is first used. Searching all distributions takes some milliseconds, so it is done
only for a name that is not the project's own and to list all, and again only when something was installed.

Streamlit, TransformerLens, nnsight and Ray are extras: `optional` imports one where it is used, or says which extra
installs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, distributions
from types import ModuleType
from typing import Generic, TypeVar

from probe.errors import ProbeError

Thing = TypeVar("Thing")


def optional(package: str, extra: str, wanted: str) -> ModuleType:
    """An optional package, imported; without it, an error that says what to install for what was `wanted`."""
    try:
        return import_module(package)
    except ModuleNotFoundError as problem:
        raise ProbeError(
            wanted,
            expected=f"the package {package}",
            found=f"no module named {problem.name!r}",
            remedy=f"pip install 'twinprobe[{extra}]'",
        ) from None


def entries(group: str) -> frozenset[EntryPoint]:
    """The group's entries of every distribution. (Of one that is installed twice, such as a checkout with stale
    metadata, the standard library would see only the first.)"""
    return _entries(group, tuple((place, _changed(place)) for place in sys.path))


@lru_cache(32)
def _entries(group: str, _places: tuple[tuple[str, int], ...]) -> frozenset[EntryPoint]:
    """Searched again when something was installed or removed, which changes a folder that Python looks in."""
    return frozenset(entry for found in distributions() for entry in found.entry_points.select(group=group))


def _changed(place: str) -> int:
    try:
        return os.stat(place or ".").st_mtime_ns
    except OSError:
        return 0


class Installed(Mapping[str, Thing], Generic[Thing]):
    """Things by name: the project's own, and what other packages declare in an entry-point group."""

    def __init__(self, group: str, own: Mapping[str, Thing], fits: Callable[[object], bool], kind: str):
        """`fits` checks an entry's object, and `kind` describes what it should be."""
        self._group, self._own, self._fits, self._kind = group, own, fits, kind

    def __getitem__(self, name: str) -> Thing:
        return self._own[name] if name in self._own else self._loaded(self._added()[name])

    def __iter__(self) -> Iterator[str]:
        return iter((*self._own, *sorted(self._added())))

    def __len__(self) -> int:
        return len(self._own) + len(self._added())

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._added()

    def _added(self) -> dict[str, EntryPoint]:
        """The entries of other packages by name; refused if a name is taken twice."""
        found: dict[str, EntryPoint] = {}
        for entry in entries(self._group):
            if entry.name in self._own or entry.name in found:
                raise self._bad(entry, "a name that is not taken", f"{entry.name!r} twice", "Rename it.")
            found[entry.name] = entry
        return found

    def _loaded(self, entry: EntryPoint) -> Thing:
        try:
            thing = entry.load()
        except (ImportError, AttributeError) as problem:
            raise self._bad(entry, "something that can be imported", str(problem), "Check its spelling.") from None
        if not self._fits(thing):
            raise self._bad(entry, self._kind, repr(thing), "Name an object: module:name.")
        return thing

    def _bad(self, entry: EntryPoint, expected: str, found: str, remedy: str) -> ProbeError:
        thing = f"entry point {entry.name} = {entry.value} of {self._group!r}"
        return ProbeError(thing, expected=expected, found=found, remedy=remedy)
