"""Cloze: a word is missing, and only what comes after it tells which.

    Yesterday Anna saw the ___ that barked all night. The missing word is -> dog

What stands left of the blank fits every word alike; the clause to the right fits one. The corrupt prompt has another
clause, so that another word is right there: the distractor.

The sentence stands in the prompt and the word is asked for at its end, where a model that only sees to its left can
answer too. With `in_place` the answer stands in the blank itself: a model that sees to its right can know it, and one
that does not can only guess, so that what its twin gets above a guess is what sight of the right context gives.
Splits never share a pair of words together with the name of who saw the thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from probe.tasks.draw import Draw
from probe.tasks.example import Example, Piece
from probe.tasks.task import Task, switch
from probe.tasks.word_lists import CLUES, NAMES, SEEN
from probe.tasks.words import Words


@dataclass(frozen=True)
class Cloze(Task):
    """With `in_place`, the answer stands in the blank, amid the sentence."""

    name = "cloze"
    scope = "global"
    asks = "A word is missing from a sentence: the word that the rest of the sentence fits is asked"
    because = "the clause to the right of the blank decides it, and what is to its left fits all words alike"
    corrupts = ("clue",)

    in_place: bool = False

    def __post_init__(self) -> None:
        switch(self, "in_place")

    def make(self, words: Words, draw: Draw) -> Iterator[Example]:
        names = words.single(NAMES, "names", at_least=20)
        seen = words.even(SEEN, lambda text: len(words.spell(text)), "verb")
        single = set(words.single([word for word, _ in CLUES], "nouns", at_least=10))
        written = [(f" {word}", f" {clue}") for word, clue in CLUES if f" {word}" in single]
        clues = words.even(written, lambda pair: len(words.spell(pair[1])), "clause")
        things = [thing for thing, _ in clues]
        if len(clues) < 10:
            raise words.refusal("at least 10 clauses of one length", str(len(clues)))
        while True:
            name = draw.choice(names)
            (thing, clue), (other, other_clue) = draw.sample(clues, 2)
            rest = (Piece(clue, "clue", corrupt=other_clue), ".")
            before = ("Yesterday", Piece(name, "name"), draw.choice(seen))
            asked_later = (*before, Piece(" ___", "blank"), *rest, " The missing word is")
            yield Example(
                key=(*sorted((thing, other)), name),
                prompt=before if self.in_place else asked_later,
                completion=(thing,),
                rest=rest if self.in_place else (),
                distractor=other,
                choices=things,
            )
