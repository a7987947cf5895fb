"""JSON within limits: `json.loads` with hooks that end it at the first limit passed, and a walk over what it read."""

from __future__ import annotations

import json
import math
import re
from functools import partial
from typing import Any

from probe.outside_files.content import refuse_lone
from probe.outside_files.limits import DIGITS, Limits, UnreadableError
from probe.outside_files.wording import cut

_LONE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(text: str, limits: Limits) -> Any:
    """The plain data of some JSON; raises `UnreadableError`."""
    try:
        read = json.loads(
            text,
            object_pairs_hook=partial(_mapping, limits),
            parse_int=_whole,
            parse_float=_finite_float if limits.finite else None,
            parse_constant=_no_constant if limits.finite else None,
        )
    except RecursionError:
        raise limits.too_deep from None
    except json.JSONDecodeError as problem:
        raise UnreadableError("JSON", problem.msg, f"line {problem.lineno}") from None
    _refuse_deep(read, limits, lone=bool(_LONE.search(text)))
    return read


def _mapping(limits: Limits, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > limits.most_keys:
        raise UnreadableError(f"at most {limits.most_keys:,} keys in one mapping", f"{len(pairs):,}")
    read = dict(pairs)
    if len(read) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise UnreadableError("each key once", f"{cut(repr(twice))} twice in one mapping")
    return read


def _refuse_deep(read: Any, limits: Limits, *, lone: bool) -> None:
    """Walk what was read, a level at a time. `lone`: strings may hold halves of a sign."""
    level, count, depth = [read], 0, 0
    while level:
        depth += any(type(value) in (dict, list) for value in level)
        if depth > limits.deepest:
            raise limits.too_deep
        count += len(level)
        if count > limits.most_values:
            raise UnreadableError(f"at most {limits.most_values:,} values", "more")
        if lone:
            refuse_lone(level)
        level = [inner for value in level if type(value) in (dict, list) for inner in _inner(value, lone)]


def _inner(value: Any, keys: bool) -> list[Any]:
    if isinstance(value, list):
        return value
    return [*value.values(), *value] if keys else list(value.values())


def _whole(digits: str) -> int:
    if len(digits) > DIGITS:
        raise UnreadableError(f"whole numbers of at most {DIGITS} digits", f"one of {len(digits):,}")
    return int(digits)


def _finite_float(written: str) -> float:
    value = float(written)
    if math.isinf(value):
        raise UnreadableError("numbers that a computer can hold", cut(written, 40))
    return value


def _no_constant(name: str) -> float:
    raise UnreadableError("finite numbers", name)
