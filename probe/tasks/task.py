"""What a task is, and how one of your own is written.

A task asks a question whose right answer is known, together with a twin of the question that differs in one respect.
Its author says only what an example is; everything that must hold for all tasks alike is done here, once: token ids
that line up, positions, the split of each example, the same examples for the same seed, and the check of what a model
wrote.

    @dataclass(frozen=True)
    class Capitals(Task):
        name, scope = "capitals", "local"
        asks, because = "The capital of a country is asked", "the country is named to the left"

        def make(self, words, draw):
            countries = sorted(CAPITALS)
            while True:
                here, there = draw.sample(countries, 2)
                yield Example(
                    key=(here,),
                    prompt=("The capital of", Piece(" " + here, "country", corrupt=" " + there), " is"),
                    completion=(" " + CAPITALS[here],),
                    distractor=" " + CAPITALS[there],
                )

    batch = Capitals().examples(tokenizer, n=100)

`make` is the one method required. It is a generator: what it needs from the tokenizer is looked up once, at its top
(`words.single` picks words that are one token and refuses if there are too few), and then it yields examples for as
long as it can. A draw that came to nothing is yielded as None, so that a search which never succeeds can be given up.
Every choice comes from `draw`. Knobs are the fields of the dataclass. Where several answers are right, `accepts` says
which, given an example's `facts` and the text that was written; without it, only the completion itself is right.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from probe.batch import Batch
from probe.errors import TaskError, nearest
from probe.tasks.assemble import Row, assemble, lay_out
from probe.tasks.draw import Draw
from probe.tasks.example import Example
from probe.tasks.show import Shown, show
from probe.tasks.splits import ALL, checked_split, split_of
from probe.tasks.words import Words, read

if TYPE_CHECKING:
    from torch import Tensor

    from probe.models.model import Model
    from probe.pairs import Pair
    from probe.readings import Reading

# So many draws in a row without a new example of the split, and there are taken to be no more.
PATIENCE = 50_000
MOST_EXAMPLES = 1_000_000  # of one batch, which is held in memory
SCOPES = ("local", "global")


class Task(ABC):
    """A question with a known answer, and its corrupt twin. Subclasses are frozen dataclasses whose fields are knobs.

    name       what `probe.task` calls it
    scope      "local": the left context decides the answer; "global": the whole does
    asks       one sentence for a person: what is asked
    because    why that makes it local or global
    corrupts   the named positions at which the corrupt prompt may differ from the clean one
    """

    name: str
    scope: str
    asks: str
    because: str
    corrupts: tuple[str, ...] = ()

    @abstractmethod
    def make(self, words: Words, draw: Draw) -> Iterator[Example | None]:
        """Examples without end (or all there are), all of one length for one tokenizer; None for a fruitless draw."""

    def accepts(self, facts: Mapping[str, Any], text: str) -> bool | None:
        """Whether `text` is a right answer; None leaves it to whether it is the completion itself."""
        return None

    def guess(self, batch: Batch) -> float:
        """The share of asked slots that a guess gets right: among all choices, or those that a question offers."""
        return (batch.right.sum(1) / (batch.right | batch.wrong).sum(1)).mean().item()

    def examples(self, tokenizer: Any, n: int, *, seed: int = 0, split: str = "test", fewer: bool = False) -> Batch:
        """`n` different examples; `fewer` takes what there is where `n` do not exist. `tokenizer`: a tokenizer, or a
        Model or Pair that has one."""
        _counted("n", n, least=1, most=MOST_EXAMPLES)
        _counted("seed", seed, least=0)
        words = Words(getattr(tokenizer, "tokenizer", tokenizer), self.name)
        mine = checked_split(split)
        draw = Draw(seed, self.name, wanted=lambda key: mine in (ALL, split_of((self.name, *key))))
        rows = self._distinct(words, n, draw)
        if len(rows) < n and not (fewer and rows):
            raise self._too_few(words, n, split, len(rows))
        return assemble(rows, words, task=self.name, scope=self.scope, seed=seed, split=split)

    def batch(
        self,
        models: Model | Pair,
        n: int,
        seed: int = 0,
        *,
        reading: str | Reading = "prefix",
        split: str = "test",
        solved: bool | Literal["over_distractor"] = True,
    ) -> Batch:
        """`n` examples that the model (or both twins of a pair) answers right under the reading, with the share that
        was selected and each model's accuracy before selection; with `solved=False`, as they come, right or wrong.
        With "over_distractor" the right token need not be the best of the vocabulary, only above the distractor.

        `split` is train, test, calibration, or all of them ("all")."""
        from probe.readings import named
        from probe.tasks.solved import pool

        _counted("n", n, least=1, most=MOST_EXAMPLES)
        if not solved:
            return self.examples(models, n, seed=seed, split=split)
        if solved is not True and solved != "over_distractor":
            raise TaskError("solved", expected="true, false or 'over_distractor'", found=repr(solved), remedy="")
        criterion = "top" if solved is True else solved
        return pool(self, models, n, reading=named(reading), seed=seed, split=split, criterion=criterion)

    def check(self, batch: Batch, written: Tensor) -> Tensor:
        """n bools: whether `written` (n x k ids for the completion positions of `batch`) is a right answer."""
        import torch

        asked = batch.positions["completion"].shape
        if written.shape != asked:
            raise TaskError(
                f"answers to the task {self.name!r}",
                expected=f"ids of shape {tuple(asked)}, as positions['completion']",
                found=str(tuple(written.shape)),
                remedy="Cut out the completion: tokens.gather(1, batch.positions['completion']).",
            )
        same = (written == batch.written().to(written.device)).all(dim=1)
        texts = (read(batch.spelling, ids) for ids in written.tolist())
        judged = [self.accepts(facts, text) for facts, text in zip(batch.facts, texts, strict=True)]
        known = torch.tensor([one is not None for one in judged], dtype=torch.bool, device=written.device)
        right = torch.tensor([bool(one) for one in judged], dtype=torch.bool, device=written.device)
        return torch.where(known, right, same)

    def show(self, batch: Batch, tokenizer: Any, k: int = 5) -> list[Shown]:
        """The first `k` examples, token by token, with what is changed and what is asked marked."""
        return show(batch, getattr(tokenizer, "tokenizer", tokenizer), k)

    def describe(self) -> str:
        """One sentence: what is asked, and why that is local or global."""
        return f"{self.asks}; it is {self.scope}, because {self.because}."

    def _distinct(self, words: Words, n: int, draw: Draw) -> list[Row]:
        """The first `n` different examples that are wanted (or all that are found), laid out as token ids."""
        rows: dict[tuple[int, ...], Row] = {}
        fruitless = 0
        for example in self.make(words, draw):
            if len(rows) == n or fruitless == PATIENCE:
                break
            fruitless += 1
            if example is None or not draw.wanted(example.key):
                continue
            row = lay_out(example, words)
            if row.clean not in rows:
                rows[row.clean], fruitless = row, 0
        return list(rows.values())

    def why_few(self, split: str) -> str:
        """Why a split has no more examples, where a task can say so."""
        return ""

    def _too_few(self, words: Words, n: int, split: str, found: int) -> TaskError:
        why = f", {self.why_few(split)}" if self.why_few(split) else ""
        return TaskError(
            f"{n:,} {split} examples of the task {self.name!r} for {words.described()}",
            expected=f"n of at most what exists with these knobs ({self._knobs()})",
            found=f"{found:,} different ones{why}",
            remedy=(f"Ask for {found:,} or fewer, or turn" if found else "Turn") + " a knob that makes more of them.",
        )

    def _knobs(self) -> str:
        if not dataclasses.is_dataclass(self):
            return "it has none"
        knobs = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return ", ".join(f"{name}={value!r}" for name, value in knobs.items()) or "it has none"


def one_of(task: Task, knob: str, allowed: tuple[str, ...]) -> None:
    """Refuse a knob's value that is not among `allowed`."""
    value = getattr(task, knob)
    if value not in allowed:
        raise knob_error(task, knob, " or ".join(map(repr, allowed)), nearest(str(value), allowed))


def within(task: Task, knob: str, least: int, most: int) -> None:
    """Refuse a knob's value outside of least..most."""
    value = getattr(task, knob)
    if type(value) is not int or not least <= value <= most:
        raise knob_error(task, knob, f"an integer from {least} to {most}", "Choose one in that range.")


def switch(task: Task, knob: str) -> None:
    """Refuse a knob's value that is neither True nor False."""
    if not isinstance(getattr(task, knob), bool):
        raise knob_error(task, knob, "True or False", "Choose one of them.")


def _counted(name: str, value: int, *, least: int, most: float = float("inf")) -> None:
    if type(value) is not int or not least <= value <= most:
        bounds = f"from {least} on" if most == float("inf") else f"from {least} to {most:,}"
        raise TaskError(name, expected=f"an integer {bounds}", found=repr(value), remedy="Give such a one.")


def knob_error(task: Task, knob: str, expected: str, remedy: str) -> TaskError:
    found = repr(getattr(task, knob))
    return TaskError(f"the knob {knob!r} of the task {task.name!r}", expected=expected, found=found, remedy=remedy)
