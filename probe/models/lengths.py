"""Texts that are longer than a model's training, or than memory allows.

A model with learned positions cannot go beyond its table, and refuses. One with rotary positions computes on, although
it was never trained there; so a text beyond `max_position_embeddings` gives a `LongTextWarning`. A mistyped length
(100000000) would fill all memory before it fails, because the visibility matrix is length × length. Its bytes are
counted first, and refused if they are not free:

    tokens for model 'zoo:masked': expected at most 52,000 of them …; found 100,000,016
"""

from __future__ import annotations

import warnings

from probe.errors import TokenError
from probe.memory import available_memory, readable

SHORT = 4096  # tokens of a text whose visibility matrix is too small to check (16 million cells)
_BYTES = 5  # of a cell: the boolean, and the additive float32 mask


class LongTextWarning(UserWarning):
    """A text is longer than those that the model was trained on."""


def check_length(model: str, limit: int | None, rows: int, length: int, *, learned: bool) -> None:
    """Refuse a length that the model or memory cannot hold, and warn of one beyond the model's training: `limit`
    tokens, with `learned` positions or not."""
    beyond = isinstance(limit, int) and length > limit
    if isinstance(limit, int) and beyond and learned:
        raise TokenError(
            f"tokens for model {model!r}",
            expected=f"at most {limit:,}: it has learned positions from 0 to {limit - 1}",
            found=f"{length:,}",
            remedy="Shorten the text, or write fewer tokens.",
        )
    if length > SHORT:
        _refuse_beyond_memory(model, rows, length)
    if beyond:
        warnings.warn(
            f"a text of {length:,} tokens is longer than the {limit:,} that model {model!r} was made for "
            "(max_position_embeddings): it was never trained there. Shorten the text, or write fewer "
            "tokens.",
            LongTextWarning,
            stacklevel=5,
        )


def _refuse_beyond_memory(model: str, rows: int, length: int) -> None:
    free, needed = available_memory(), _BYTES * rows * length**2
    if needed > free:
        raise TokenError(
            f"tokens for model {model!r}",
            expected=f"at most {int((free / _BYTES / rows) ** 0.5):,} in each of {rows:,} texts, whose visibility "
            f"fits the {readable(free)} of free memory",
            found=f"{length:,}",
            remedy="Shorten the text, or write fewer tokens.",
        )
