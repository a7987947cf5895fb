"""The tokens of a view: each is spelt once, and known by its place in the list from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


MASK = -1  # stands for a masked slot among the codes of tokens


class Words:
    """`spelt` and `ids` are what the view's JSON holds; `code` is a token's place in them. Without a tokenizer a token
    is spelt as its number."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase | None):
        self._tokenizer = tokenizer
        self._code: dict[int, int] = {}
        self.spelt: list[str] = []
        self.ids: list[int] = []

    def code(self, token: int) -> int:
        if token not in self._code:
            self._code[token] = len(self.ids)
            self.ids.append(token)
            self.spelt.append(str(token) if self._tokenizer is None else str(self._tokenizer.decode([token])))
        return self._code[token]
