"""The readings of a single state: ar, prefix, one mask, and a ratio of random masks."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import ClassVar

import torch
from torch import Tensor

from probe.batch import Batch
from probe.errors import ProbeError, TaskError
from probe.models.model import Model
from probe.readings.reading import Reading, View


@dataclass(frozen=True)
class AR(Reading):
    """The left context under causal attention: the twin's reference."""

    name: ClassVar[str] = "ar"

    attention: str | None = "causal"

    def view(self, model: Model, batch: Batch) -> View:
        return View.still(_from_answer_on(batch, batch.clean.shape[1]))


@dataclass(frozen=True)
class Prefix(Reading):
    """The same left context, followed by as many masks as the completion has tokens.

    `canvas_length` counts the masks from the completion's first slot on; None is the completion's length. Text after
    the completion (of a blank in the middle) is left out, since even its length is information.
    """

    name: ClassVar[str] = "prefix"

    canvas_length: int | None = None

    def view(self, model: Model, batch: Batch) -> View:
        return View.still(self.hides(batch))

    def hides(self, batch: Batch) -> Tensor:
        """The slots that are hidden, for which no model is needed."""
        start, completion = written_span(batch, self.name)
        length = self.canvas_length or completion
        reach = int(batch.positions["answer"].max()) + 1 - start
        if self.canvas_length is not None and self.canvas_length < reach:
            raise ProbeError(
                "canvas_length",
                expected=f"at least {reach}, so that the answer is on the canvas",
                found=str(self.canvas_length),
                remedy="Lengthen it, or leave it out for the completion's own length.",
            )
        return _from_answer_on(batch, start + length)


@dataclass(frozen=True)
class OneMask(Reading):
    """Everything visible but the answer: shows the effect of the right context."""

    name: ClassVar[str] = "one_mask"

    def view(self, model: Model, batch: Batch) -> View:
        return View.still(self.hides(batch))

    def hides(self, batch: Batch) -> Tensor:
        """The slots that are hidden, for which no model is needed."""
        return _at(batch.positions["answer"], batch.clean)


@dataclass(frozen=True)
class Ratio(Reading):
    """Random masks at `rate`, drawn `draws` times; the answer is always among them, the first token never.

    `over` is "text" (any position) or "completion" (only those that the model would write); the view has the actual
    ratio over those positions. An example's masks depend on `seed` and on the question (not on its batch, so that
    examples selected under this reading get the same masks again; nor on the hidden text).
    """

    name: ClassVar[str] = "ratio"

    rate: float = 0.5
    draws: int = 8
    over: str = "text"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1 or self.draws < 1 or self.over not in ("text", "completion"):
            raise ProbeError(
                "reading 'ratio'",
                expected="a rate from 0 to 1, at least 1 draw, over 'text' or 'completion'",
                found=f"rate {self.rate}, {self.draws} draws, over {self.over!r}",
                remedy="For example Ratio(rate=0.5, draws=8).",
            )

    def view(self, model: Model, batch: Batch) -> View:
        n, length = batch.clean.shape
        answer, among = places_among(batch, self.over)
        asked = zip(batch.target.tolist(), batch.distractor.tolist(), map(dict, batch.facts), strict=True)
        drawn = torch.stack([self._uniform(question, length) for question in asked], dim=1) < self.rate
        hidden = (drawn & among) | answer
        return View(
            hidden=hidden.flatten(0, 1),
            example=torch.arange(n).repeat(self.draws),
            step=torch.arange(self.draws).repeat_interleave(n),
            ratio=(hidden.sum(-1) / among.sum(-1)).flatten(),
        )

    def _uniform(self, question: tuple, length: int) -> Tensor:
        """Random numbers from 0 to 1, draws × length, for each question."""
        generator = torch.Generator().manual_seed(question_seed(self.seed, question))
        return torch.rand(self.draws, length, generator=generator)


def question_seed(seed: int, question: tuple) -> int:
    """A seed of its own for each question, whatever batch it is in."""
    return int.from_bytes(blake2b(repr((seed, question)).encode(), digest_size=7).digest())


def places_among(batch: Batch, over: str) -> tuple[Tensor, Tensor]:
    """The answer's position (n × length), and the positions that noise may choose from: the answer and those of "text"
    (all but the first) or of the "completion"."""
    answer = _at(batch.positions["answer"], batch.clean)
    completion = _at(batch.positions["completion"], batch.clean)
    among = completion if over == "completion" else torch.ones_like(completion)
    among[:, 0] = False
    return answer, among | answer


def written_span(batch: Batch, reading: str) -> tuple[int, int]:
    """The start and length of the completions; refused unless they are at the same positions in all examples."""
    completion = batch.positions["completion"].cpu()
    start, length = int(completion[0, 0]), completion.shape[1]
    if not torch.equal(completion, torch.arange(start, start + length).expand_as(completion)):
        raise TaskError(
            f"task {batch.task!r} under the reading {reading!r}",
            expected="completions without gaps that start at the same position in all examples",
            found="completions at different positions",
            remedy="Use 'ar' or 'one_mask', or make the prompts equally long.",
        )
    return start, length


def _at(places: Tensor, tokens: Tensor) -> Tensor:
    """Positions (n, k) as a boolean matrix over `tokens`."""
    return torch.zeros(tokens.shape, dtype=torch.bool).scatter_(1, places.cpu(), True)


def _from_answer_on(batch: Batch, slots: int) -> Tensor:
    return torch.arange(slots) >= batch.positions["answer"].cpu()
