"""The readings of one still state: ar, prefix, one mask, and a ratio of random masks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from probe.errors import ProbeError
from probe.models.model import Model
from probe.readings.reading import Asked, Reading, single
from probe.tasks.batch import Batch


@dataclass(frozen=True)
class AR(Reading):
    """What stands to the left of the answer, causally: the twin's reference."""

    name: ClassVar[str] = "ar"

    attention: str | None = "causal"

    def ask(self, model: Model, batch: Batch, which: str = "clean") -> Asked:
        tokens = getattr(batch, which)
        return single(model, batch, tokens, _from_answer_on(batch, tokens), self.attention)


@dataclass(frozen=True)
class Prefix(Reading):
    """The same left context, on a canvas of masks that is as long as the answer, so that length does not leak.

    `canvas_length` is the number of slots from the first one of the completion on; None is the completion's own.
    """

    name: ClassVar[str] = "prefix"

    canvas_length: int | None = None

    def ask(self, model: Model, batch: Batch, which: str = "clean") -> Asked:
        tokens = self._sized(getattr(batch, which), batch)
        return single(model, batch, tokens, _from_answer_on(batch, tokens), self.attention)

    def _sized(self, tokens: Tensor, batch: Batch) -> Tensor:
        if self.canvas_length is None:
            return tokens
        start, answer = int(batch.positions["completion"].min()), int(batch.positions["answer"].max())
        length = start + self.canvas_length
        if length <= answer:
            raise ProbeError(
                "canvas_length",
                expected=f"at least {answer - start + 1}, so that the answer is on the canvas",
                found=str(self.canvas_length),
                remedy="Lengthen it, or leave it out for the completion's own length.",
            )
        longer = tokens[:, -1:].expand(-1, max(0, length - tokens.shape[1]))  # hidden, as all that follows the answer
        return torch.cat([tokens[:, :length], longer], dim=1)


@dataclass(frozen=True)
class OneMask(Reading):
    """Everything but the answer: what the right context adds."""

    name: ClassVar[str] = "one_mask"

    def ask(self, model: Model, batch: Batch, which: str = "clean") -> Asked:
        tokens = getattr(batch, which)
        return single(model, batch, tokens, _at(batch.positions["answer"], tokens), self.attention)


@dataclass(frozen=True)
class Ratio(Reading):
    """Random masks at `rate`, drawn `draws` times; the answer is always among them, the first token never.

    `over` is "text" (any place) or "completion" (only what the model would have to write). Clean and corrupt get the
    same masks. The ratio that came out stands in `Asked.ratio`.
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

    def ask(self, model: Model, batch: Batch, which: str = "clean") -> Asked:
        tokens = getattr(batch, which)
        n, length = tokens.shape
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.rand(self.draws, n, length, generator=generator) < self.rate
        maskable = (
            _at(batch.positions["completion"], tokens) if self.over == "completion" else torch.ones(n, length).bool()
        )
        maskable[:, 0] = False
        hidden = ((drawn & maskable) | _at(batch.positions["answer"], tokens)).flatten(0, 1)
        example = torch.arange(n).repeat(self.draws)
        asked = single(model, batch[example], tokens[example], hidden, self.attention)
        return replace(asked, example=example, step=torch.arange(self.draws).repeat_interleave(n))

    def __str__(self) -> str:
        return f"{super().__str__()} {self.rate:g}"


def _at(places: Tensor, tokens: Tensor) -> Tensor:
    """Places (n, k) as a boolean matrix over `tokens`."""
    return torch.zeros(tokens.shape, dtype=torch.bool).scatter_(1, places.cpu(), True)


def _from_answer_on(batch: Batch, tokens: Tensor) -> Tensor:
    return torch.arange(tokens.shape[1]) >= batch.positions["answer"].cpu()
