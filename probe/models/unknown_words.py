"""Words that a tokenizer does not know.

The shipped models have 471 tokens. For any other word a model sees [UNK] and answers anyway, and no number shows that
it never saw the question. So a warning names the words.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class UnknownWordWarning(UserWarning):
    """A text has words that the model cannot see."""


def warn_of_unknown_words(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], rows: Sequence[Sequence[int]], model: str
) -> None:
    """Warn of words in the texts that are not in the vocabulary, by their tokens (`rows`)."""
    unknown = tokenizer.unk_token_id
    found = dict.fromkeys(
        word
        for text, row in zip(texts, rows, strict=True)
        if unknown in row
        for word in _unknown_in(tokenizer, text, unknown)
    )
    if found:
        words = ", ".join(repr(word) for word in found)
        warnings.warn(
            f"model {model!r} does not know {words}: it sees {tokenizer.unk_token} there. Write with the words of its "
            "vocabulary (model.tokenizer.get_vocab()), or use a model with a larger one.",
            UnknownWordWarning,
            stacklevel=4,
        )


def _unknown_in(tokenizer: PreTrainedTokenizerBase, text: str, unknown: object) -> list[str]:
    """The parts of a text that became the unknown token, except a literal special token."""
    if not tokenizer.is_fast:
        return [word for word in text.split() if unknown in tokenizer(word, add_special_tokens=False)["input_ids"]]
    encoded = tokenizer(text, return_offsets_mapping=True)
    parts = [
        text[start:end]
        for token, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        if token == unknown and end > start
    ]
    return [part.strip() for part in parts if part.strip() != tokenizer.unk_token]
