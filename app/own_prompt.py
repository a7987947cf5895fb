"""The reader's own prompt as a task of one example: a clean and a corrupt prompt, and the answer of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from probe.batch import Batch
from probe.pairs import Pair
from probe.tasks import Draw, Example, Piece, Task, Words
from probe.tasks.splits import ALL

LONGEST = 600  # characters


@dataclass(frozen=True)
class Own:
    """The prompt, a corrupt one with the same number of tokens, and the right answer of each."""

    prompt: str = "When Luke and Keith went to the museum , Keith gave a flower to"
    corrupt: str = "When Luke and Keith went to the museum , Luke gave a flower to"
    answer: str = "Luke"
    other: str = "Keith"


@dataclass(frozen=True)
class OwnPrompt(Task):
    """The task whose only example this is."""

    name, scope = "own prompt", "local"
    asks, because = "What the reader typed", "it is asked from the left"
    own: Own = Own()

    def make(self, words: Words, draw: Draw) -> Iterator[Example | None]:
        own = self.own
        yield Example(
            key=(own.prompt,),
            prompt=(Piece(own.prompt.strip(), "prompt", corrupt=own.corrupt.strip()),),
            completion=(f" {own.answer.strip()}",),
            distractor=f" {own.other.strip()}",
        )


def batch_of(pair: Pair, own: Own) -> Batch:
    return OwnPrompt(own).examples(pair, 1, split=ALL)
