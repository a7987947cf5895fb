"""Texts that are longer than a model was made for, or than memory can hold.

A model with learned positions has no place beyond its table, and refuses. One with rotary positions computes on, and
nothing in its numbers shows that it was never trained there; so a text beyond `max_position_embeddings` is said, by a
`LongTextWarning`. And a length that somebody mistyped (100000000) would fill all memory before it fails: who sees whom
is a table of length × length. Its bytes are counted first, and refused where they are not free:

    tokens for model 'zoo:masked': expected at most 52,000 of them …; found 100,000,016
"""

from __future__ import annotations

import warnings

from probe.errors import TokenError
from probe.memory import available_memory, readable

SHORT = 4096  # tokens of a text whose table is too small to be counted (16 million cells)
_BYTES = 5  # of a cell of who sees whom: what is allowed, and the mask that says so in float32


class LongTextWarning(UserWarning):
    """A text is longer than those that the model was trained on."""


def check_length(model: str, limit: int | None, rows: int, length: int, *, learned: bool) -> None:
    """Refuse a length that the model or memory has no room for, and say where it is beyond the model's training:
    `limit` tokens, for which it has `learned` positions or not."""
    beyond = isinstance(limit, int) and length > limit
    if isinstance(limit, int) and beyond and learned:
        raise TokenError(
            f"tokens for model {model!r}",
            expected=f"at most {limit:,}: it has learned positions, places from 0 to {limit - 1}",
            found=f"{length:,}",
            remedy="Shorten the text, or ask for fewer tokens.",
        )
    if length > SHORT:
        _refuse_beyond_memory(model, rows, length)
    if beyond:
        warnings.warn(
            f"a text of {length:,} tokens is longer than the {limit:,} that model {model!r} was made for "
            "(max_position_embeddings): what it computes there was never trained. Shorten the text, or ask for fewer "
            "tokens.",
            LongTextWarning,
            stacklevel=5,
        )


def _refuse_beyond_memory(model: str, rows: int, length: int) -> None:
    free, needed = available_memory(), _BYTES * rows * length**2
    if needed > free:
        raise TokenError(
            f"tokens for model {model!r}",
            expected=f"at most {int((free / _BYTES / rows) ** 0.5):,} in each of {rows:,} texts, for which the "
            f"{readable(free)} of memory that are free hold who sees whom",
            found=f"{length:,}",
            remedy="Shorten the text, or ask for fewer tokens.",
        )
