"""Errors that a user can act on.

Everything that fails because of the user's input is a `ProbeError`, which names the thing, what was expected, what was
found, and what to do. The command line prints it without a traceback; code can catch the base class or a subclass.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ProbeError(ValueError):
    """A mistake in the user's input: `thing` is at fault, `remedy` says how to mend it."""

    def __init__(self, thing: str, *, expected: str, found: str, remedy: str):
        self.thing, self.expected, self.found, self.remedy = (
            _written(each) for each in (thing, expected, found, remedy)
        )
        super().__init__(f"{self.thing}: expected {self.expected}; found {self.found}. {self.remedy}")

    def __reduce__(self):
        return _rebuild, (type(self), self.thing, self.expected, self.found, self.remedy)


LONGEST = 6_000  # characters of a part of an error; a file's content may be of any length


def _written(words: str) -> str:
    """Text that any terminal or file can take: shortened, and without lone surrogates."""
    words = words if words.isascii() else words.encode("utf-8", "backslashreplace").decode()
    return words if len(words) <= LONGEST else f"{words[: LONGEST // 2]} … {words[-LONGEST // 2 :]}"


def _rebuild(kind: type[ProbeError], thing: str, expected: str, found: str, remedy: str) -> ProbeError:
    return kind(thing, expected=expected, found=found, remedy=remedy)


class CheckpointError(ProbeError):
    """A checkpoint that cannot be loaded, or must not be."""


class SelfTestError(ProbeError):
    """A model that loaded, but does not behave as declared."""


class TokenError(ProbeError):
    """Tokens that a model cannot take."""


class AttentionError(ProbeError):
    """An attention mask that would be misread or that leaves a token nothing to see."""


class TaskError(ProbeError):
    """A task that cannot be written with a tokenizer, or that a model cannot be asked."""


class TraceError(ProbeError):
    """A recording that cannot be made, written or read back."""


_MOST_LISTED = 8


def nearest(name: object, known: Iterable[str], how_many: int = 3) -> str:
    """The known names closest to a mistyped one, as a phrase for an error's remedy.

    >>> nearest("maskd", ["ar", "masked", "fluid"])
    "Did you mean 'masked'?"
    """
    known, said = sorted(known), name.lower() if isinstance(name, str) else ""  # of another type: nothing is near
    by_lower = {candidate.lower(): candidate for candidate in known}
    part_of = [lower for lower in by_lower if said and said in lower]
    close = part_of[:how_many] or difflib.get_close_matches(said, by_lower, n=how_many, cutoff=0.4)
    if close:
        return "Did you mean " + " or ".join(repr(by_lower[lower]) for lower in close) + "?"
    listed = ", ".join(known[:_MOST_LISTED]) or "none"
    return f"Known: {listed}" + (f" and {len(known) - _MOST_LISTED} more." if len(known) > _MOST_LISTED else ".")
