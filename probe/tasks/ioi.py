"""Indirect object identification (Wang et al., 2022): of two people named, one gives; who receives?

    When Mary and John went to the store, John gave a drink to -> Mary

The answer is the name that is *not* repeated. Half of the examples name the receiver first (ABBA), half the giver
(BABA). The corrupt prompt puts a third name where the giver is repeated, so that neither of the two is ruled out
("third", the usual choice), or the receiver's own ("swap"), so that the answer is the other one. The distractor is
the giver.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from probe.batch import Batch
from probe.tasks.draw import Draw
from probe.tasks.example import Example, Piece
from probe.tasks.task import Task, one_of
from probe.tasks.word_lists import NAMES, OBJECTS, PLACES
from probe.tasks.words import Words

# The opening word; what the two did; what the one does. Templates of unequal token length are dropped per tokenizer.
TEMPLATES = (
    ("When", " went to the", " gave"),
    ("After", " arrived at the", " handed"),
    ("While", " worked at the", " passed"),
    ("Since", " stayed at the", " offered"),
    ("Once", " got to the", " brought"),
    ("As", " walked to the", " threw"),
    ("Before", " left for the", " lent"),
    ("When", " met at the", " sold"),
    ("Because", " lived near the", " sent"),
)


@dataclass(frozen=True)
class IOI(Task):
    name = "ioi"
    scope = "local"
    asks = "Two people are named and one of them acts: the name of the other is asked"
    because = "the names to the left decide it, whatever follows"
    corrupts = ("second_subject",)

    corrupt: str = "third"

    def __post_init__(self) -> None:
        one_of(self, "corrupt", ("third", "swap"))

    def guess(self, batch: Batch) -> float:
        """Between the two names."""
        return 1 / 2

    def make(self, words: Words, draw: Draw) -> Iterator[Example]:
        names = words.single(NAMES, "names", at_least=20)
        places = words.single(PLACES, "places", at_least=5)
        objects = words.single(OBJECTS, "objects", at_least=5)
        templates = words.even(TEMPLATES, lambda parts: sum(len(words.spell(part)) for part in parts), "template")
        while True:
            receiver, giver, third = draw.sample(names, 3)
            place, thing = draw.choice(places), draw.choice(objects)
            opening, did, does = draw.choice(templates)
            pair = [Piece(receiver, "indirect_object"), Piece(giver, "subject")]
            one, other = pair if draw.below(2) else reversed(pair)
            repeated = Piece(giver, "second_subject", corrupt=third if self.corrupt == "third" else receiver)
            yield Example(
                key=(*sorted((receiver, giver)), place, thing),
                prompt=(
                    *(opening, one, " and", other, did, Piece(place, "place"), ","),
                    *(repeated, does, " a", Piece(thing, "object"), Piece(" to", "end")),
                ),
                completion=(receiver,),
                distractor=giver,
                choices=names,
            )
