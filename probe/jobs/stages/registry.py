"""The installed stages, by name.

They are found through the entry-point group `twinprobe.measures`; each entry is a list of stages. Another package adds
measures by declaring such an entry. `TWINPROBE_MEASURES=module:name` adds some without a package.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from typing import Any
from warnings import warn

from probe.errors import ProbeError, nearest
from probe.installed import entries
from probe.jobs.stages.stage import Stage

GROUP, VARIABLE = "twinprobe.measures", "TWINPROBE_MEASURES"


@cache
def stages() -> Mapping[str, Stage]:
    """Every stage that is installed, by name."""
    found: list[Stage] = []
    for entry in sorted(entries(GROUP), key=lambda entry: entry.name):
        found += entry.load()
    found += _own(os.environ.get(VARIABLE, ""))
    by_name = {stage.name: stage for stage in found}
    if len(by_name) < len(found):
        names = [stage.name for stage in found]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ProbeError(
            "measures",
            expected="names that are taken once",
            found=f"{', '.join(twice)} twice",
            remedy=f"Rename them where they are declared (entry points {GROUP!r}, {VARIABLE}).",
        )
    return by_name


def measures() -> dict[str, Stage]:
    """The stages that answer a question, by name."""
    return {name: stage for name, stage in stages().items() if stage.measure}


def renamed(name: str) -> str:
    """A measure's current name, with a warning if a spec has its old one."""
    for stage in stages().values():
        if name in stage.formerly:
            warn(f"The measure {name!r} is now called {stage.name!r}, and is computed under that name.", stacklevel=2)
            return stage.name
    return name


def known_stage(name: str) -> Stage:
    """The stage of a name."""
    if name not in stages():
        raise ProbeError(
            f"measure {name!r}",
            expected="one of " + ", ".join(sorted(measures())),
            found=repr(name),
            remedy=nearest(name, stages()),
        )
    return stages()[name]


def checked_knobs(stage: Stage, knobs: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's knobs with some of them set; an unknown knob, or a value of another type, is refused."""
    for name, value in knobs.items():
        if name not in stage.knobs:
            raise ProbeError(
                f"measure {stage.name!r}",
                expected="a knob it has" if stage.knobs else "no knobs",
                found=repr(name),
                remedy=nearest(name, stage.knobs) if stage.knobs else "Leave it out.",
            )
        default = stage.knobs[name]
        if not _like(value, default):
            raise ProbeError(
                f"knob {name!r} of {stage.name!r}",
                expected=f"{_kind(default)}, such as {default!r}",
                found=repr(value),
                remedy=f"Leave it out for {default!r}.",
            )
    return {**stage.knobs, **knobs}


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


def _own(named: str) -> Iterable[Stage]:
    """The stages of `module:name` (several, with commas between), as the environment names them."""
    for place in filter(None, named.split(",")):
        module, _, name = place.partition(":")
        try:
            yield from getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as problem:
            raise ProbeError(
                f"{VARIABLE}={named}",
                expected="module:name of a list of stages, importable from here",
                found=str(problem),
                remedy="Check PYTHONPATH and the spelling, or unset it.",
            ) from None
