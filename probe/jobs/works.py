"""Works: what a job can be asked for, each with what it needs, and where it finds them.

A job knows nothing of circuits or lenses. It knows works: a function that is handed `Inputs` and returns a product, the
form in which that product is kept, the axes of the spec along which it is repeated, and the other works whose products
it needs. A measure's product is a Result; shared work (a pool of examples, a circuit, a trace) is made once however
many measures need it. Where a needed work has an axis that the needing one lacks, it gets a mapping along that axis:
a measure without `role` that needs circuits is handed one for each model of the pair.

    circuit = Work("circuit", "edge scores", find, CircuitForm(), axes=A_MODEL, needs=("pool",))
    index   = Work("front_loading", "how early", lambda given: fli(given["circuit"]), TABLE, axes=A_PAIR,
                   needs=("circuit",), settings=("resamples",), measure=True)

Works are found by the entry-point group `twinprobe.measures`, whose entries are iterables of works: a package of one's
own adds measures by naming them there. `TWINPROBE_MEASURES=module:name` adds some without a package.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from probe.errors import ProbeError, nearest
from probe.installed import entries

if TYPE_CHECKING:
    from pathlib import Path

    from probe.jobs.inputs import Inputs
    from probe.jobs.spec import Spec

GROUP, VARIABLE = "twinprobe.measures", "TWINPROBE_MEASURES"
AXES = ("pair", "role", "task", "reading", "seed")
A_MODEL = AXES  # each model of a pair at each place
A_PAIR = ("pair", "task", "reading", "seed")  # a pair at each place
SETTINGS = ("examples", "solved", "resamples", "tasks", "readings")


class Form(Protocol):
    """How a kind of product is kept in a folder."""

    def save(self, product: Any, folder: Path) -> None: ...

    def open(self, folder: Path, given: Inputs) -> Any: ...

    def difference(self, one: Path, other: Path) -> str | None:
        """How the products in two folders differ; None where they are the same."""
        ...


@dataclass(frozen=True)
class Work:
    """One kind of work.

    axes       of AXES: it is done once for each combination of what the spec lists there
    needs      names of works whose products it is handed; one that ends in "?" may not apply, and is then left out
    settings   of SETTINGS: what else of the spec its product depends on, and is therefore handed
    roles      the models it loads where it has no axis `role`; None: every model of the pair, (): none
    knobs      its own settings, with their defaults; a spec can turn them
    passes     forward passes an example and model it takes (a backward pass is two), for estimates
    kept       bytes an example on disk, of a model of some shape (layers, heads, width), for estimates
    refuses    why it does not apply at a place (a mapping from axis to label) of a spec's grid, or None
    resumes    it goes on with what an interrupted attempt left in its folder
    """

    name: str
    about: str
    make: Callable[[Inputs], Any]
    form: Form
    axes: tuple[str, ...]
    needs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    roles: tuple[str, ...] | None = None
    knobs: Mapping[str, Any] = field(default_factory=dict)
    measure: bool = False
    passes: float = 0.0
    kept: Callable[[Mapping[str, int]], float] = lambda shape: 0.0
    refuses: Callable[[Mapping[str, Any], Spec], str | None] = lambda place, spec: None
    resumes: bool = False


@cache
def works() -> Mapping[str, Work]:
    """Every work that is installed, by name."""
    from probe.jobs.checks import CHECK
    from probe.jobs.pools import POOL

    found = [CHECK, POOL]
    for entry in sorted(entries(GROUP), key=lambda entry: entry.name):
        found += entry.load()
    found += _own(os.environ.get(VARIABLE, ""))
    by_name = {work.name: work for work in found}
    if len(by_name) < len(found):
        names = [work.name for work in found]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ProbeError(
            "measures",
            expected="names that are taken once",
            found=f"{', '.join(twice)} twice",
            remedy=f"Rename them where they are declared (entry points {GROUP!r}, {VARIABLE}).",
        )
    return by_name


def measures() -> dict[str, Work]:
    """The works that answer a question, by name."""
    return {name: work for name, work in works().items() if work.measure}


def known_work(name: str) -> Work:
    """The work of a name."""
    if name not in works():
        raise ProbeError(
            f"measure {name!r}",
            expected="one of " + ", ".join(sorted(measures())),
            found=repr(name),
            remedy=nearest(name, works()),
        )
    return works()[name]


def checked_knobs(work: Work, knobs: Mapping[str, Any]) -> dict[str, Any]:
    """A work's knobs with some of them turned; refused where it has no such knob, or of another kind."""
    for name, value in knobs.items():
        if name not in work.knobs:
            raise ProbeError(
                f"measure {work.name!r}",
                expected="a knob it has" if work.knobs else "no knobs",
                found=repr(name),
                remedy=nearest(name, work.knobs) if work.knobs else "Leave it out.",
            )
        default = work.knobs[name]
        if not _like(value, default):
            raise ProbeError(
                f"knob {name!r} of {work.name!r}",
                expected=f"{_kind(default)}, such as {default!r}",
                found=repr(value),
                remedy=f"Leave it out for {default!r}.",
            )
    return {**work.knobs, **knobs}


def _like(value: Any, default: Any) -> bool:
    if default is None:
        return True
    if isinstance(default, bool) or isinstance(value, bool):
        return type(value) is type(default)
    if isinstance(default, float):
        return isinstance(value, int | float)
    if isinstance(default, list | tuple):
        return isinstance(value, list | tuple) and all(_like(one, default[0]) for one in value if default)
    return isinstance(value, type(default))


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}


def _kind(default: Any) -> str:
    return _KINDS.get(type(default), "a list" if isinstance(default, list | tuple) else "a mapping")


def _own(named: str) -> Iterable[Work]:
    """The works of `module:name` (several, with commas between), as the environment names them."""
    for place in filter(None, named.split(",")):
        module, _, name = place.partition(":")
        try:
            yield from getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as problem:
            raise ProbeError(
                f"{VARIABLE}={named}",
                expected="module:name of a list of works, importable from here",
                found=str(problem),
                remedy="Check PYTHONPATH and the spelling, or unset it.",
            ) from None
