"""Subject-verb agreement over an attractor (Linzen et al., 2016): the verb takes its number from the subject.

    The keys near the cabinet -> are        (not: is)

Between subject and verb stands a second noun, the attractor. Whoever looks at the nearest noun answers with its
number; the right answer is the subject's. The corrupt prompt changes the subject's number and nothing else, so that the
distractor, the verb's other form, becomes right there.

Several verbs are right: all forms of the subject's number (`are`, `were`, `have`), against all of the other. The
attractor has the number that the subject has not (`attractor="opposite"`), or the same, which is the easy control.
Splits never share a pair of nouns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from probe.batch import Batch
from probe.tasks.draw import Draw
from probe.tasks.example import Example, Piece
from probe.tasks.task import Task, one_of
from probe.tasks.word_lists import BESIDE, NOUNS, VERB_FORMS
from probe.tasks.words import Words

Forms = tuple[str, str]  # singular and plural


@dataclass(frozen=True)
class Agreement(Task):
    """`attractor`: "opposite" to the subject in number, or the "same"."""

    name = "agreement"
    scope = "local"
    asks = "A subject is followed by a second noun: the verb that agrees with the subject is asked"
    because = "the subject to the left decides it, whatever follows"
    corrupts = ("subject",)

    attractor: str = "opposite"

    def __post_init__(self) -> None:
        one_of(self, "attractor", ("opposite", "same"))

    def guess(self, batch: Batch) -> float:
        """Between the two numbers."""
        return 1 / 2

    def make(self, words: Words, draw: Draw) -> Iterator[Example]:
        nouns = forms_of_one_token(words, NOUNS, "nouns, singular and plural,", at_least=10)
        verbs = forms_of_one_token(words, VERB_FORMS, "verbs, singular and plural,", at_least=1)
        where = words.single(BESIDE, "prepositions", at_least=3)
        every_form = [form for forms in verbs for form in forms]
        while True:
            subject, attractor = draw.sample(nouns, 2)
            number = draw.below(2)
            nearer = number if self.attractor == "same" else 1 - number
            yield Example(
                key=(*sorted((subject[0], attractor[0])),),
                prompt=(
                    "The",
                    Piece(subject[number], "subject", corrupt=subject[1 - number]),
                    *(draw.choice(where), " the"),
                    Piece(attractor[nearer], "attractor"),
                ),
                completion=(verbs[0][number],),
                distractor=verbs[0][1 - number],
                choices=every_form,
                right=[forms[number] for forms in verbs],
            )


def forms_of_one_token(words: Words, pairs: tuple[Forms, ...], what: str, *, at_least: int) -> list[Forms]:
    """The pairs of which both forms are one token, written with their space; refuses too few."""
    single = set(words.single([form for forms in pairs for form in forms], what, at_least=2 * at_least))
    spaced = [(f" {one}", f" {many}") for one, many in pairs]
    found = [forms for forms in spaced if single.issuperset(forms)]
    if len(found) < at_least:
        raise words.refusal(f"at least {at_least} {what} that are one token", str(len(found)))
    return found
