"""A rule from plain data: a mapping of a rule's fields, as a spec has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from probe.errors import ProbeError, nearest

R = TypeVar("R")


def made(kind: type[R], said: Mapping[str, Any]) -> R:
    """A rule of a class (a dataclass) from plain data; unknown fields and wrong types are refused."""
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # rules are dataclasses
    for name in said:
        if name not in known:
            raise ProbeError(
                f"sampler's {name!r}", expected="one of " + ", ".join(known), found=repr(name),
                remedy=nearest(str(name), known),
            )  # fmt: skip
    try:
        return kind(**said)
    except ProbeError:
        raise
    except (TypeError, ValueError) as problem:
        raise ProbeError(
            "a sampler", expected="its fields, of the right types", found=f"{dict(said)} ({problem})",
            remedy="See `twinprobe decode --help` for its fields.",
        ) from None  # fmt: skip
