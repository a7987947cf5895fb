"""Writing a task's pieces of text with a given tokenizer.

A word is one token for one tokenizer and three for another; "1732" is two tokens for GPT-2, four for Qwen, two others
for LLaMA 3. A task that ignores this compares prompts of unequal length, or asks for half a name. `Words` wraps one
tokenizer: it spells text as inside a running text, picks the single-token words of a pool, and refuses, with the
reason, a task that this tokenizer cannot write.

How a piece is tokenized depends on what precedes it (a space, the beginning of the text). A piece is therefore encoded
after a carrier, whose own tokens must come out unchanged and are then cut off.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from probe.errors import TaskError
from probe.tasks.example import Spelling

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

T = TypeVar("T")


def _byte_signs() -> dict[str, int]:
    """The characters that byte-level vocabularies use for bytes (GPT-2's table): printable ones stand for
    themselves."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTES = _byte_signs()
CARRIERS = ("a", "the", "1")
# How byte-level and sentencepiece vocabularies write the space inside a token.
SPACES = BYTE_LEVEL, SENTENCEPIECE = "Ġ", "▁"


class Words:
    """One tokenizer for one task: `Task.make` uses `spell`, `single` and `even`."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase | None, task: str):
        if tokenizer is None:
            raise TaskError(
                f"the task {task!r}",
                expected="a tokenizer to write it with",
                found="a model that was loaded without one",
                remedy="Load the model with tokenizer=FOLDER.",
            )
        self.tokenizer, self.task = tokenizer, task
        self._spelt: dict[str, tuple[int, ...]] = {}
        self._carriers = [(carrier, self._encode(carrier)) for carrier in CARRIERS]
        # The tokens that the tokenizer puts before a text: BOS for LLaMA and the shipped vocabulary, nothing for GPT-2.
        whole, (first, *_) = tokenizer.encode("a"), self._known("a", self._encode("a"))
        self.prefix = tuple(whole[: whole.index(first)])
        second = self._tokens(self._encode("a a"))[-1]
        self._space = next((space for space in SPACES if second.startswith(space)), None)

    def spell(self, text: Spelling, *, first: bool = False) -> tuple[int, ...]:
        """The token ids of a piece within a running text; with `first`, of a piece that begins it."""
        if isinstance(text, tuple):
            return text
        memory_key = "\n" + text if first else text
        ids = self._spelt.get(memory_key)
        if ids is None:
            ids = self._spelt[memory_key] = self._known(text, self._encode(text) if first else self._within(text))
        return ids

    def spell_all(self, texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
        """The token ids of many pieces within a running text, for the cost of a few calls of the tokenizer."""
        texts = list(texts)
        self._look_up(texts)
        return {text: self.spell(text) for text in texts}

    def _look_up(self, texts: list[str]) -> None:
        """Spell many pieces with one call. Pieces that merge with the first carrier, or cannot be written, are left to
        `spell`, which tries the others and says why."""
        carrier, alone = self._carriers[0]
        fresh = [text for text in texts if text not in self._spelt]
        if not fresh:
            return
        encoded = self.tokenizer([carrier + text for text in fresh], add_special_tokens=False)["input_ids"]
        for text, together in zip(fresh, map(tuple, encoded), strict=True):
            ids = together[len(alone) :]
            if together[: len(alone)] == alone and ids and self.tokenizer.unk_token_id not in ids:
                self._spelt[text] = ids

    def single(self, pool: Iterable[str], what: str, *, at_least: int) -> list[str]:
        """The words of a pool that are one token after a space, written with that space; refuses too few."""
        spaced = [" " + word for word in pool]
        self._look_up(spaced)
        found = [word for word in spaced if self._is_single(word)]
        if len(found) < at_least:
            shown = ", ".join(word.strip() for word in found[:5]) + ("" if len(found) <= 5 else ", ...")
            raise self.refusal(f"at least {at_least} {what} that are one token", f"{len(found)} ({shown or 'none'})")
        return found

    def even(self, templates: Sequence[T], length: Callable[[T], int], what: str) -> list[T]:
        """The largest group of `templates` of one length in tokens, so that batches need no padding."""
        if not templates:
            raise self.refusal(f"at least one {what} that it can write", "none")
        lengths = [length(template) for template in templates]
        common = Counter(lengths).most_common(1)[0][0]
        return [template for template, size in zip(templates, lengths, strict=True) if size == common]

    def digits(self, ids: Iterable[int]) -> list[str]:
        """What each token of a number writes, without its space."""
        return [token.strip("".join(SPACES)) for token in self._tokens(ids)]

    def spelling(self) -> dict[int, str]:
        """Token id -> the text it adds, for every token spelt so far. `read` puts it together."""
        ids = sorted({i for spelt in self._spelt.values() for i in spelt})
        return {i: self._text(token) for i, token in zip(ids, self._tokens(ids), strict=True)}

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The text that each token adds."""
        return [self._text(token) for token in self._tokens(ids)]

    def described(self) -> str:
        tokenizer = self.tokenizer
        return getattr(tokenizer, "name_or_path", "") or f"a {type(tokenizer).__name__} of {len(tokenizer):,} tokens"

    def refusal(self, expected: str, found: str) -> TaskError:
        return TaskError(
            f"the task {self.task!r} for {self.described()}",
            expected=expected,
            found=found,
            remedy="Use another task, or write one in words that it knows (see probe.tasks.Task).",
        )

    def _tokens(self, ids: Iterable[int]) -> list[str]:
        return [str(token) for token in self.tokenizer.convert_ids_to_tokens(list(ids))]

    def _text(self, token: str) -> str:
        if self._space is None:  # whole words: each is separate from the one before
            return " " + token
        if self._space == BYTE_LEVEL:
            written = bytes(_BYTES.get(sign, ord("?")) for sign in token)
        elif byte := re.fullmatch("<0x([0-9A-F]{2})>", token):
            written = bytes.fromhex(byte[1])
        else:
            written = token.replace(SENTENCEPIECE, " ").encode()
        return written.decode("utf-8", "surrogateescape")

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def _within(self, text: str) -> tuple[int, ...]:
        for carrier, alone in self._carriers:
            together = self._encode(carrier + text)
            if together[: len(alone)] == alone:
                return together[len(alone) :]
        raise self.refusal(f"{text!r} to be separate from the word before it", "that they merge into one token")

    def _known(self, text: str, ids: tuple[int, ...]) -> tuple[int, ...]:
        if not ids or self.tokenizer.unk_token_id in ids:
            raise self.refusal(f"a vocabulary that can write {text!r}", "none or unknown tokens for it")
        return ids

    def _is_single(self, text: str) -> bool:
        try:
            return len(self.spell(text)) == 1
        except TaskError:
            return False


def read(spelling: Mapping[int, str], ids: Iterable[int]) -> str:
    """The text that token ids write. A character may be split over two tokens: its bytes are escaped in `spelling`, and
    joined here."""
    glued = "".join(spelling.get(i, "\ufffd") for i in ids)
    return glued.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
