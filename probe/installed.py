"""What is installed beside the project: what other packages declare for it to find, and the optional ones it can use.

A package of one's own adds a paradigm, a task or an architecture by one line of its pyproject.toml, and no file of the
project is touched:

    [project.entry-points."twinprobe.tasks"]
    capitals = "my_package:Capitals"

The entry's name is the name that users write. `Installed` is the mapping of such names to things: the project's own
first, then those of others, each imported when it is first asked for. Looking through all distributions takes some
milliseconds, so it is done only for a name that is not one of the project's own, and to list them all.

Streamlit, TransformerLens, nnsight and Ray are extras: `optional` imports one where it is used, or says which extra
brings it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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


def entries(group: str) -> set[EntryPoint]:
    """The group's entries of every distribution: of one that was installed twice (a checkout's stale metadata beside
    the real one), the standard library would look at the first alone."""
    return {entry for found in distributions() for entry in found.entry_points.select(group=group)}


class Installed(Mapping[str, Thing], Generic[Thing]):
    """Things by name: the project's own, and what other packages declare in an entry-point group."""

    def __init__(self, group: str, own: Mapping[str, Thing], fits: Callable[[object], bool], kind: str):
        """`fits` says whether what an entry names is such a thing, and `kind` what it should have been, in words."""
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
        """The entries of other packages by name, refused where a name is taken twice."""
        found: dict[str, EntryPoint] = {}
        for entry in entries(self._group):
            if entry.name in self._own or entry.name in found:
                raise self._bad(entry, "a name that nobody else has taken", f"{entry.name!r} twice", "Rename it.")
            found[entry.name] = entry
        return found

    def _loaded(self, entry: EntryPoint) -> Thing:
        try:
            thing = entry.load()
        except (ImportError, AttributeError) as problem:
            raise self._bad(entry, "something that can be imported", str(problem), "Check its spelling.") from None
        if not self._fits(thing):
            raise self._bad(entry, self._kind, repr(thing), "Name the thing itself: module:name.")
        return thing

    def _bad(self, entry: EntryPoint, expected: str, found: str, remedy: str) -> ProbeError:
        thing = f"entry point {entry.name} = {entry.value} of {self._group!r}"
        return ProbeError(thing, expected=expected, found=found, remedy=remedy)
