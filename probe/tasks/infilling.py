"""Semantic infilling: a word is missing, and only what comes after the blank tells which.

    Today Anna has the milk that is a white thing to drink. Tom has the ___ that is a red thing to eat.
    The blank is -> apple

Neither clue is enough: wine is red as well, and rice is eaten too. What stands to the left of the blank tells nothing
about it, and holds the clues of another thing, which mislead whoever does not mind where they stand. The corrupt
prompt changes one of the two clues after the blank, so that another word is right, the distractor.

The passage stands in the prompt and the answer after it, so that a model that only sees to its left can be asked as
well. With `in_place` the answer stands in the blank itself, where only a model that sees to its right can know it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from probe.tasks.draw import Draw
from probe.tasks.example import Example, Piece
from probe.tasks.pools import NAMES, RIDDLES
from probe.tasks.task import Task, switch
from probe.tasks.words import Words

Riddle = tuple[str, str, str]  # thing, quality, use


@dataclass(frozen=True)
class Infilling(Task):
    """With `in_place`, the answer stands in the blank, amid the passage."""

    name = "infilling"
    scope = "global"
    asks = "A passage has a blank: the missing word is asked"
    because = "two clues to the right of the blank decide it together, and what is to its left misleads"
    corrupts = ("clues",)

    in_place: bool = False

    def __post_init__(self) -> None:
        switch(self, "in_place")

    def make(self, words: Words, draw: Draw) -> Iterator[Example]:
        names = words.single(NAMES, "names", at_least=20)
        riddles = known_riddles(words)
        things = tuple(thing for thing, _, _ in riddles)
        while True:
            here, there = draw.sample(names, 2)
            riddle = draw.choice(riddles)
            other = draw.choice(neighbours(riddle, riddles))
            decoy = draw.choice([each for each in riddles if each not in (riddle, other)])
            quality, use = (Piece(riddle[i], "clues", corrupt=other[i]) for i in (1, 2))
            clues = (" that is a", quality, " thing to", use, ".")
            prompt = (
                *("Today", there, " has the", Piece(decoy[0], "decoy")),
                *(" that is a", decoy[1], " thing to", decoy[2], "."),
                *(here, " has the"),
            )
            if not self.in_place:
                prompt += (Piece(" ___", "blank"), *clues, " The blank is")
            yield Example(
                key=(decoy[0], *sorted((here, there))),
                prompt=prompt,
                completion=(riddle[0],),
                rest=clues if self.in_place else (),
                distractor=other[0],
                choices=things,
            )


def neighbours(riddle: Riddle, riddles: list[Riddle]) -> list[Riddle]:
    """The riddles that share one of the two clues with this one."""
    return [other for other in riddles if (other[1] == riddle[1]) != (other[2] == riddle[2])]


def known_riddles(words: Words) -> list[Riddle]:
    """The riddles whose words are one token each, and which another can be mistaken for; refuses too few."""
    single = set(words.single(dict.fromkeys(word for riddle in RIDDLES for word in riddle), "words", at_least=12))
    spaced = [(f" {thing}", f" {quality}", f" {use}") for thing, quality, use in RIDDLES]
    whole = [riddle for riddle in spaced if single.issuperset(riddle)]
    mistakable = [riddle for riddle in whole if neighbours(riddle, whole)]
    if len(mistakable) < 10:
        raise words.refusal("at least 10 things told apart by words of one token", str(len(mistakable)))
    return mistakable
