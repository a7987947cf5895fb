"""The content of a spec's value (a task, a reading, a setting) as plain data, for the hash of a unit.

A `repr` is made for people: it hides fields and shortens long ones, so two different tasks can look the same.
`facts_of` decomposes a value instead: its class, the code of that class, and every field, down to plain numbers and
texts. A task from a file includes the file's lines. A value that cannot be decomposed is refused, since leaving it out
could show an old number as a new one.

    facts_of(probe.task("countdown", numbers=3))     # {"class": "….Countdown", "code": …, "numbers": 3}
    digest_of(…)                                     # the same as one SHA-256
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from probe.errors import ProbeError
from probe.jobs.run.code_hash import code_of

MOST_CHARACTERS = 400  # length of facts in a manifest; longer ones are given by their hash


def facts_of(value: Any) -> Any:
    """A value as plain data: words, numbers, lists and mappings."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return {"bytes": hashlib.sha256(value).hexdigest()}
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): facts_of(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [facts_of(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted((facts_of(inner) for inner in value), key=lambda fact: json.dumps(fact, sort_keys=True))
    return _of_object(value)


def digest_of(value: Any) -> Any:
    """The facts of a value, or their SHA-256 if they are long (a task from a file has all of its lines)."""
    facts = facts_of(value)
    text = json.dumps(facts, sort_keys=True)
    if len(text) <= MOST_CHARACTERS:
        return facts
    named = {"class": facts["class"]} if isinstance(facts, dict) and "class" in facts else {}
    return {**named, "sha256": hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()}


def _of_object(value: Any) -> dict[str, Any]:
    kind = type(value)
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif hasattr(value, "__dict__"):
        fields = vars(value)
    else:
        raise ProbeError(
            f"a {kind.__qualname__} in a spec",
            expected="fields that identify it",
            found="an object without fields",
            remedy="Make it a dataclass.",
        )
    return {"class": f"{kind.__module__}.{kind.__qualname__}", "code": code_of(kind), **facts_of(fields)}
