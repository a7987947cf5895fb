"""Semantic infilling: a word is missing, and only what comes after the blank tells which.

    Anna has the apple and the tea. Tom has the rice and the milk. Jane has the wine and the cake.
    The ___ is a thing to drink that Tom has. The blank is -> milk

Before the blank, each of `people` has one thing of either of two uses. Neither clue is enough, since every one of them
has a thing to drink, and Tom has two things. To put them together one must know what a thing is for, and remember who
has it; what is left of the blank offers all things alike. The corrupt prompt changes one of the two clues, so that
another of the things is right, the distractor.

The passage stands in the prompt and the answer after it, so that a model that only sees to its left can be asked as
well. With `in_place` the answer stands in the blank itself, where only a model that sees to its right can know it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from probe.batch import Batch
from probe.tasks.draw import Draw
from probe.tasks.example import Example, Piece
from probe.tasks.task import Task, switch, within
from probe.tasks.word_lists import NAMES, RIDDLES
from probe.tasks.words import Words

Uses = dict[str, list[str]]  # a use, and the things that have it


@dataclass(frozen=True)
class Infilling(Task):
    """So many `people` have two things each. With `in_place`, the answer stands in the blank, amid the passage."""

    name = "infilling"
    scope = "global"
    asks = "A passage has a blank: the missing word is asked"
    because = "two clues to the right of the blank decide it together, and what is to its left offers all things alike"
    corrupts = ("clues",)

    people: int = 3
    in_place: bool = False

    def __post_init__(self) -> None:
        within(self, "people", 2, 4)
        switch(self, "in_place")

    def guess(self, batch: Batch) -> float:
        """Among all things that are had."""
        return 1 / (2 * self.people)

    def make(self, words: Words, draw: Draw) -> Iterator[Example]:
        names = words.single(NAMES, "names", at_least=20)
        uses = known_uses(words, self.people)
        things = tuple(thing for having in uses.values() for thing in having)
        while True:
            people = draw.sample(names, self.people)
            use, other_use = draw.sample(list(uses), 2)
            # One thing of either use for each.
            owned = list(zip(*(draw.sample(uses[each], self.people) for each in (use, other_use)), strict=True))
            owner = draw.below(self.people)
            another = (owner + 1) % self.people
            answer, same_owner = owned[owner]
            same_use = owned[another][0]
            asks_owner = draw.below(2) == 1  # which of the two clues the corrupt prompt changes
            clues = (
                *(" is a thing to", Piece(use, "clues", corrupt=None if asks_owner else other_use), " that"),
                *(Piece(people[owner], "clues", corrupt=people[another] if asks_owner else None),),
                *(" has", "."),
            )
            prompt = [*_belongings(people, [draw.shuffled(pair) for pair in owned], answer), " The"]
            if not self.in_place:
                prompt += [Piece(" ___", "blank"), *clues, " The blank is"]
            yield Example(
                key=(*sorted(things_of(owned)), *sorted(people)),
                prompt=prompt,
                completion=(answer,),
                rest=clues if self.in_place else (),
                distractor=same_use if asks_owner else same_owner,
                choices=things,
            )


def things_of(owned: list[tuple[str, str]]) -> list[str]:
    return [thing for pair in owned for thing in pair]


def _belongings(people: list[str], owned: list[list[str]], answer: str) -> Iterator[str | Piece]:
    """What each has, the answer among it."""
    for person, (one, other) in zip(people, owned, strict=True):
        yield from (person, " has")
        yield from (" the", _offered(one, answer), " and the", _offered(other, answer), ".")


def _offered(thing: str, answer: str) -> Piece:
    return Piece(thing, "source" if thing == answer else "decoys")


def known_uses(words: Words, things: int) -> Uses:
    """The uses that are one token and have at least so many things of one token each; refuses too few."""
    single = set(words.single(dict.fromkeys(word for riddle in RIDDLES for word in riddle), "words", at_least=12))
    uses: Uses = {}
    for thing, _, use in RIDDLES:
        if {f" {thing}", f" {use}"} <= single:
            uses.setdefault(f" {use}", []).append(f" {thing}")
    uses = {use: having for use, having in uses.items() if len(having) >= things}
    if len(uses) < 3:
        raise words.refusal(f"at least 3 uses that {things} things of one token have", str(len(uses)))
    return uses
