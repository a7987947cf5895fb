"""Induction: a list of random words begins again, and goes on as it did before.

    List: cup war Mary key hat ... war Mary key -> hat

The words are all different, so the last one has been seen once before, and what followed it then is the answer.
Nothing else helps: there is no meaning in the list. The corrupt prompt repeats another stretch of the same list,
which goes on with another word, the distractor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from probe.batch import Batch
from probe.tasks.draw import Draw
from probe.tasks.example import Example, Piece
from probe.tasks.task import Task, within
from probe.tasks.word_lists import (
    EVENTS,
    NAMES,
    OBJECTS,
    PLACES,
)
from probe.tasks.words import Words


@dataclass(frozen=True)
class Induction(Task):
    """`length` words are listed, then `repeated` of them come again in a row."""

    name = "induction"
    scope = "local"
    asks = "A list of random words begins to repeat itself: the next word is asked"
    because = "the same word earlier to the left, and what followed it, decide it"
    corrupts = ("repeated", "previous")

    length: int = 12
    repeated: int = 3

    def __post_init__(self) -> None:
        within(self, "length", 3, 60)
        within(self, "repeated", 1, self.length - 2)

    def guess(self, batch: Batch) -> float:
        """Among the words of the list."""
        return 1 / self.length

    def make(self, words: Words, draw: Draw) -> Iterator[Example]:
        pool = words.single(NAMES + PLACES + OBJECTS + EVENTS, "words", at_least=2 * self.length)
        last = self.length - self.repeated - 1
        while True:
            listed = draw.sample(pool, self.length)
            start, other = draw.sample(range(last + 1), 2)
            stretch, swapped = (listed[at : at + self.repeated + 1] for at in (start, other))
            match = start + self.repeated - 1
            again = list(zip(stretch[:-1], swapped[:-1], strict=True))
            yield Example(
                key=tuple(sorted(listed)),
                prompt=(
                    *("List", ":", *listed[:match]),
                    *(Piece(listed[match], "match"), Piece(listed[match + 1], "source"), *listed[match + 2 :]),
                    *(Piece(word, "repeated", corrupt=swap) for word, swap in again[:-1]),
                    Piece(stretch[-2], "previous", corrupt=swapped[-2]),
                ),
                completion=(stretch[-1],),
                distractor=swapped[-1],
                choices=pool,
            )
