"""Writing a task's pieces of text with the tokenizer at hand.

A word is one token for one tokenizer and three for another; "1732" is two tokens for GPT-2, four for Qwen, two others
for LLaMA 3. A task that hopes for the best compares prompts of unequal length, or asks for half a name. `Words` knows
one tokenizer: it spells text as it would stand inside a running text, picks from a pool what is a single token, and
refuses, with the reason, a task that this tokenizer cannot ask.

How a piece is spelled depends on what stands before it (a space, the beginning of the text). A piece is therefore
encoded behind a carrier, whose own tokens must come out unchanged and are then cut off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from probe.errors import TaskError
from probe.tasks.example import Spelling

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

T = TypeVar("T")
CARRIERS = ("a", "the", "1")
# How byte-level and sentencepiece vocabularies write the space inside a token.
SPACES = ("Ġ", "▁")


class Words:
    """One tokenizer, seen by one task: `spell`, `single` and `even` are what `Task.make` needs of it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, task: str):
        self.tokenizer, self.task = tokenizer, task
        self._spelt: dict[str, tuple[int, ...]] = {}
        self._carriers = [(carrier, self._encode(carrier)) for carrier in CARRIERS]
        # What the tokenizer puts before a text by itself: BOS for LLaMA and the shipped vocabulary, nothing for GPT-2.
        whole = tuple(tokenizer.encode("a"))
        self.prefix = whole[: whole.index(self._encode("a")[0])]

    def spell(self, text: Spelling, *, first: bool = False) -> tuple[int, ...]:
        """The token ids of a piece within a running text; with `first`, of a piece that begins it."""
        if isinstance(text, tuple):
            return text
        memory_key = "\n" + text if first else text
        ids = self._spelt.get(memory_key)
        if ids is None:
            ids = self._spelt[memory_key] = self._known(text, self._encode(text) if first else self._within(text))
        return ids

    def single(self, pool: Iterable[str], what: str, *, at_least: int) -> list[str]:
        """The words of a pool that are one token behind a space, written with that space; refuses too few."""
        found = [" " + word for word in pool if self._is_single(" " + word)]
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
        return [str(token).strip("".join(SPACES)) for token in self.tokenizer.convert_ids_to_tokens(list(ids))]

    def spelling(self) -> dict[int, str]:
        """Token id -> the text it adds, for every token spelt so far."""
        ids = sorted({i for spelt in self._spelt.values() for i in spelt})
        tokens = [str(token) for token in self.tokenizer.convert_ids_to_tokens(ids)]
        # A vocabulary of whole words marks no spaces: there each token stands apart from the one before.
        apart = "" if any(token.startswith(SPACES) for token in tokens) else " "
        return {i: apart + token.replace("Ġ", " ").replace("▁", " ") for i, token in zip(ids, tokens, strict=True)}

    def refusal(self, expected: str, found: str) -> TaskError:
        tokenizer = self.tokenizer
        name = getattr(tokenizer, "name_or_path", "") or f"{type(tokenizer).__name__} of {len(tokenizer):,} tokens"
        return TaskError(
            f"the task {self.task!r} for the tokenizer {name}",
            expected=expected,
            found=found,
            remedy="Ask another task of this model, or write one in words it knows (see probe.tasks.Task).",
        )

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
