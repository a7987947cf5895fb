"""Greater-than (Hanna et al., 2023): a war that began in 1732 ended in a year after it.

    The war lasted from the year 1732 to the year 17 -> 33 ... 99

Many answers are right, so the measure is over `batch.right` and `batch.wrong`: p(right) - p(wrong). The corrupt
prompt begins in the year XX01, which rules nothing out.

What is asked depends on how the tokenizer cuts a year. The slot is the token that holds the tens digit. Where years
are cut in two and two digits (GPT-2, the shipped vocabulary), that token decides. Where it holds the tens digit alone
(Qwen, LLaMA 2) or the first three digits (LLaMA 3), the units follow in a second token, and a tens digit equal to the
start's is neither right nor wrong. Where the token holds the century too, a year of a later century is right as well.
All years of a batch are cut in the one way that is commonest for the tokenizer.

The splits never share an event with its starting year; corrupt prompts of one century are the same in all splits.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from probe.tasks.draw import Draw
from probe.tasks.example import Example, Piece
from probe.tasks.task import Task
from probe.tasks.word_lists import EVENTS
from probe.tasks.words import Words

CENTURIES = range(10, 21)
VERBS = ("lasted", "ran", "continued", "stretched", "extended", "went", "dragged")
TENS = 2  # where the tens digit stands in a year of four digits


class Years(NamedTuple):
    """The years that a tokenizer cuts in one way, as token ids; `asked` is the token with the tens digit."""

    ids: dict[int, tuple[int, ...]]
    asked: int
    shown: int  # how many digits stand before the asked token
    candidates: dict[int, tuple[int, ...]]  # what the asked token says, as a number -> the token
    decisive: bool  # no digit follows the asked token

    def value(self, year: int) -> int:
        """What the asked token of this year says."""
        width = 4 - self.shown if self.decisive else TENS + 1 - self.shown
        return int(str(year)[self.shown : self.shown + width])


@dataclass(frozen=True)
class GreaterThan(Task):
    name = "greater_than"
    scope = "local"
    asks = "Something begins in one year: a later year, in which it ends, is asked"
    because = "the starting year to the left decides it"
    corrupts = ("start_year",)

    def make(self, words: Words, draw: Draw) -> Iterator[Example]:
        events = words.single(EVENTS, "nouns", at_least=10)
        verbs = words.single(VERBS, "verbs", at_least=2)
        years = cut(words)
        answers = _answers(years)
        ends = _ends(years)
        starts = [start for start, (_, _, false) in answers.items() if ends[start] and false]
        if not starts:
            raise words.refusal("years cut so that some are right and some are wrong", "none")
        choices, asked = tuple(years.candidates.values()), years.asked
        while True:
            start, event, verb = draw.choice(starts), draw.choice(events), draw.choice(verbs)
            right, wrong, false = answers[start]
            begun, blank = years.ids[start], years.ids[first_year(start)]
            yield Example(
                key=(event, start),
                prompt=(
                    *("The", event, verb, " from the year"),
                    *(begun[:asked], Piece(begun[asked:], "start_year", corrupt=blank[asked:])),
                    *(" to the year", Piece(begun[:asked], "century")),
                ),
                completion=(years.ids[draw.choice(ends[start])][asked:],),
                distractor=draw.choice(false),
                choices=choices,
                right=right,
                wrong=wrong,
                facts={"start": start, "shown": str(start)[: years.shown]},
            )

    def accepts(self, facts: Mapping[str, Any], text: str) -> bool:
        year = facts["shown"] + "".join(text.split())
        return re.fullmatch(r"\d{4}", year) is not None and int(year) > facts["start"]


def cut(words: Words) -> Years:
    """The years that the tokenizer cuts in its commonest way, in the centuries whose year XX01 it also cuts so."""
    all_years = range(100 * CENTURIES[0], 100 * CENTURIES[-1] + 100)
    spelt = dict(zip(all_years, words.spell_all(f" {year}" for year in all_years).values(), strict=True))
    ways = {year: tuple(map(len, words.digits(ids))) for year, ids in spelt.items()}
    (common, _), *_ = Counter(ways.values()).most_common()
    if sum(common) != 4:
        raise words.refusal("years written in tokens of digits", f"{words.digits(spelt[1732])} for 1732")
    asked = next(i for i in range(len(common)) if sum(common[: i + 1]) > TENS)
    ids = {year: spelt[year] for year, way in ways.items() if way == common and ways[first_year(year)] == common}
    candidates = {int(words.digits([spelling[asked]])[0]): spelling[asked : asked + 1] for spelling in ids.values()}
    return Years(ids, asked, sum(common[:asked]), dict(sorted(candidates.items())), asked == len(common) - 1)


Answers = tuple[tuple, tuple, tuple]


def _answers(years: Years) -> dict[int, Answers]:
    """For each starting year, of the candidates: the right ones, the wrong ones, and those of the wrong that the
    corrupt prompt makes right. Years of two centuries that ask the same token have the same ones."""

    @cache
    def of(here: int, blank: int) -> Answers:
        right = tuple(token for value, token in years.candidates.items() if value > here)
        wrong = {value: token for value, token in years.candidates.items() if value < here + years.decisive}
        return right, tuple(wrong.values()), tuple(token for value, token in wrong.items() if value > blank)

    return {start: of(years.value(start), years.value(first_year(start))) for start in years.ids}


def _ends(years: Years) -> dict[int, list[int]]:
    """For each year, the years of its century that the asked token already shows to be later."""
    values = {year: years.value(year) for year in years.ids}
    return {
        start: [end for end in range(start + 1, first_year(start) + 99) if end in values and values[end] > here]
        for start, here in values.items()
    }


def first_year(year: int) -> int:
    """The year XX01 of a year's century."""
    return year // 100 * 100 + 1
