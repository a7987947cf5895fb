"""A unit: the smallest piece of work in a job, computed once.

It is one stage at one place of the grid: a pair, a task, a reading, a seed, and for many shared stages one model of the
pair. Its `id` is for people and stays the same from run to run. Its `hash` covers everything that determines its
numbers, including the hashes of the units that it needs, and names its folder on disk. Where it ran, how fast and in
which batches does not change numbers and is not part of the hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

Key = str | int | tuple[str | int, ...] | None


@dataclass(frozen=True)
class Unit:
    """One stage at one place. `needs`: for each needed stage, the hashes by label of the mapping's axis, or the one
    hash under None."""

    stage: str
    label: str  # the stage with its changed knobs
    place: Mapping[str, str | int]  # axis → label
    made: Mapping[str, Any]  # what decides the product
    needs: Mapping[str, Mapping[Key, str]] = field(default_factory=dict)
    measure: bool = False

    @property
    def id(self) -> str:
        """For people: stage and place."""
        return "/".join(map(str, (self.label, *self.place.values())))

    @cached_property
    def hash(self) -> str:
        needed = {name: {repr(key): digest for key, digest in by_key.items()} for name, by_key in self.needs.items()}
        facts = json.dumps({"stage": self.stage, "made": self.made, "needs": needed}, sort_keys=True, default=str)
        return hashlib.sha256(facts.encode()).hexdigest()[:20]

    @property
    def needed(self) -> list[str]:
        """The hashes of all that it needs."""
        return [digest for by_key in self.needs.values() for digest in by_key.values()]
