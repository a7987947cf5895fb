"""From a spec to its units, each after those that it needs.

No model is loaded for a plan: files are hashed and units are named. The same spec with the same files and code gives
the same plan, so that a second run finds what the first one computed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import product
from typing import Any

from probe.collector import paused
from probe.errors import ProbeError, nearest
from probe.jobs.run.code_hash import code_of
from probe.jobs.run.model_identity import HashCache, PairIdentity, pair_identity
from probe.jobs.run.unit import Key, Unit
from probe.jobs.run.value_identity import digest_of
from probe.jobs.spec.model import Spec
from probe.jobs.stages.registry import checked_knobs, known_stage
from probe.jobs.stages.stage import AXES, Stage


@dataclass(frozen=True)
class Plan:
    """The units of a job by hash, each after those that it needs; and those left out, with the reason."""

    spec: Spec
    pairs: Mapping[str, PairIdentity]
    units: Mapping[str, Unit]
    skipped: Mapping[str, str] = field(default_factory=dict)  # id → why

    def __iter__(self) -> Iterator[Unit]:
        return iter(self.units.values())

    def __len__(self) -> int:
        return len(self.units)

    @cached_property
    def stems(self) -> Mapping[str, str]:
        """The units' file names, by hash: the same in two runs of one spec."""
        plain = {unit.hash: _plain(unit) for unit in self}
        found = Counter(plain.values())
        return {digest: stem if found[stem] == 1 else f"{stem}_{digest[:6]}" for digest, stem in plain.items()}

    def only(self, pattern: str) -> Plan:
        """The units whose id matches `pattern` (`*` matches anything), and those that they need."""
        wanted = [unit.hash for unit in self if fnmatchcase(unit.id, pattern)]
        if not wanted:
            raise ProbeError(
                f"--only {pattern}",
                expected="the id of a unit, or a pattern such as 'front_loading/*'",
                found="no unit of that name",
                remedy=nearest(pattern, [unit.id for unit in self]),
            )
        kept: set[str] = set()
        while wanted:
            kept.add(digest := wanted.pop())
            wanted += self.units[digest].needed
        units = {digest: unit for digest, unit in self.units.items() if digest in kept}
        return Plan(self.spec, self.pairs, units, {})


def plan_of(spec: Spec, hashes: HashCache | None = None) -> Plan:
    """The plan of a spec."""
    with paused():  # it imports torch, and makes all units
        return _planned(spec, hashes)


def _planned(spec: Spec, hashes: HashCache | None) -> Plan:
    hashes = hashes or HashCache()
    pairs = {pair.label: pair_identity(pair, spec.catalog, hashes) for pair in spec.pairs}
    grid = _Grid(spec, pairs)
    for pair in pairs:  # pair by pair, so that a process can keep a pair's models loaded
        for measure in spec.measures:
            stage = known_stage(measure.measure)
            for place in grid.places(stage.axes, {"pair": pair} if "pair" in stage.axes else {}):
                grid.unit(stage, measure.label, checked_knobs(stage, measure.knobs), place)
    if not grid.units:
        raise ProbeError(
            "spec",
            expected="at least one unit of work",
            found="; ".join(sorted({*grid.skipped.values()})) or "none",
            remedy="Choose measures that apply to these pairs, tasks and readings.",
        )
    return Plan(spec, pairs, grid.units, grid.skipped)


class _Grid:
    """Creates each unit once, after the units that it needs."""

    def __init__(self, spec: Spec, pairs: Mapping[str, PairIdentity]):
        self.spec, self.pairs = spec, pairs
        self.units: dict[str, Unit] = {}
        self.skipped: dict[str, str] = {}
        self._made: dict[str, Unit | None] = {}

    def places(self, axes: tuple[str, ...], fixed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Every place along `axes` that agrees with the fixed values."""
        free = [axis for axis in AXES if axis in axes and axis not in fixed]
        if "role" in free and "pair" not in fixed:  # roles are a pair's
            for pair in self.pairs:
                yield from self.places(axes, {**fixed, "pair": pair})
            return
        for values in product(*(self._along(axis, fixed) for axis in free)):
            place = {**fixed, **dict(zip(free, values, strict=True))}
            yield {axis: place[axis] for axis in AXES if axis in axes}

    def _along(self, axis: str, fixed: Mapping[str, Any]) -> list[Any]:
        if axis == "role":
            return list(self.pairs[fixed["pair"]].models)
        return list(self.spec.seeds) if axis == "seed" else list(self.spec.labelled[axis])

    def unit(self, stage: Stage, label: str, knobs: Mapping[str, Any], place: dict[str, Any]) -> Unit | None:
        """The unit of a stage at a place, or None if it does not apply."""
        name = "/".join(map(str, (label, *place.values())))
        if name not in self._made:
            self._made[name] = self._new(stage, label, knobs, place, name)
        return self._made[name]

    def _new(self, stage: Stage, label: str, knobs: Mapping[str, Any], place: dict[str, Any], name: str) -> Unit | None:
        reason = stage.refuses(place, self.spec)
        if reason is None:
            needs, reason = self._needs(stage, place)
        if reason is not None:
            self.skipped[name] = reason
            return None
        unit = Unit(stage.name, label, place, self._facts(stage, knobs, place), needs, stage.measure)
        self.units[unit.hash] = unit
        return unit

    def _needs(self, stage: Stage, place: dict[str, Any]) -> tuple[dict[str, dict[Key, str]], str | None]:
        """The hashes of the units that a unit needs; or the reason why one of them does not apply."""
        needs: dict[str, dict[Key, str]] = {}
        for name in stage.needs:
            needed = known_stage(name.removesuffix("?"))
            found = self._needed(needed, stage, place)
            if found:
                needs[needed.name] = found
            elif not name.endswith("?"):
                why = [self.skipped[i] for i in self.skipped if f"{i}/".startswith(f"{name}/")]
                return needs, f"it needs {name}, which does not apply: {why[-1] if why else 'nowhere'}"
        return needs, None

    def _needed(self, needed: Stage, stage: Stage, place: dict[str, Any]) -> dict[Key, str]:
        """The units of a needed stage: at the same place along the axes they share, everywhere along the others."""
        label, knobs = self._as_specified(needed)
        shared = {axis: place[axis] for axis in needed.axes if axis in place}
        free = [axis for axis in AXES if axis in needed.axes and axis not in shared]
        found: dict[Key, str] = {}
        for there in self.places(needed.axes, shared):
            if "role" in free and stage.roles and there["role"] not in stage.roles:
                continue
            unit = self.unit(needed, label, knobs, there)
            if unit is not None:
                found[_key([there[axis] for axis in free])] = unit.hash
        return found

    def _as_specified(self, needed: Stage) -> tuple[str, dict[str, Any]]:
        """A needed stage's label and knobs: the spec's, if it has any."""
        specified = next((one for one in self.spec.measures if one.measure == needed.name), None)
        if specified is not None:
            return specified.label, checked_knobs(needed, specified.knobs)
        return needed.name, checked_knobs(needed, self.spec.shared.get(needed.name, {}))

    def _facts(self, stage: Stage, knobs: Mapping[str, Any], place: Mapping[str, Any]) -> dict[str, Any]:
        """What determines a unit's product, besides the units that it needs."""
        spec = self.spec
        facts: dict[str, Any] = {"code": code_of(stage.make), "knobs": dict(knobs)}
        facts |= {"settings": {name: digest_of(spec.setting(name)) for name in stage.settings}}
        if "pair" in place:
            pair = self.pairs[place["pair"]]
            roles = [place["role"]] if "role" in place else pair.models if stage.roles is None else stage.roles
            facts["pair"] = {"name": pair.name, "dtype": spec.dtype, **pair.identity(list(roles))}
        if "role" in place:
            facts["role"] = place["role"]
        if "task" in place:
            facts["task"] = digest_of(spec.labelled["task"][place["task"]].made())
        if "reading" in place:
            facts["reading"] = digest_of(spec.labelled["reading"][place["reading"]].made())
        if "seed" in place:
            facts["seed"] = place["seed"]
        return facts


def _key(values: list[str | int]) -> Key:
    return None if not values else values[0] if len(values) == 1 else tuple(values)


def _plain(unit: Unit) -> str:
    parts = (unit.label, *map(str, unit.place.values()))
    return "__".join(re.sub(r"[^A-Za-z0-9._=+]+", "-", part).strip("-") or "-" for part in parts)
