"""Words for an error about a file: short enough to read, and such that any terminal can write them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

MOST_FAULTS = 20  # of one file that are told at once
LONGEST_SHOWN = 200  # characters of a path or a value in an error


def cut(text: str, longest: int = LONGEST_SHOWN) -> str:
    """A text that fits into an error, and can be written anywhere."""
    text = text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= longest else text[: longest - 1] + "…"


def type_name(value: Any) -> str:
    """What kind of value stands there, in words of the file."""
    return {"dict": "a mapping", "list": "a list", "str": "a text", "NoneType": "nothing", "bool": "true or false"}.get(
        type(value).__name__, "a number"
    )


def told(problem: ValidationError, top: str) -> str:
    """What pydantic found wrong, in one line; `top` names the whole. At most twenty faults are told."""
    faults = problem.errors(include_url=False, include_input=False, include_context=False)
    words = [f"{cut('.'.join(map(str, one['loc'])), 80) or top}: {cut(one['msg'])}" for one in faults[:MOST_FAULTS]]
    more = len(faults) - MOST_FAULTS
    return "; ".join([*words, *([f"and {more:,} more faults"] if more > 0 else [])])


def shown(source: str | Path) -> str:
    """A path as an error names it: the middle of a very long one is left out."""
    text = cut(str(source), 10_000)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:80]}…{text[80 - LONGEST_SHOWN :]}"
