"""The noise reading: a flow's state at a time τ, several draws; the counterpart of a masked model's mask ratio.

At τ a share τ of the tokens can be read off the state, so `Noise(tau=0.75)` shows a flow as much of the text as
`Ratio(rate=0.25)` shows a masked model: depth and spread under the two are comparable. As under `Ratio` the answer is
always hidden: it has τ = 0, so nothing of it is in the state. With `answer="noised"` it has τ like all others, as in a
sampler's states and in a flow map's training; then the noise, clean and corrupt alike, lets some of the answer through.

An example's noise depends on `seed` and on the question, as a ratio's masks do. Only flows see noise: any other model
refuses such a view; use the matched `ratio` instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from probe.batch import Batch
from probe.errors import ProbeError
from probe.models.model import Model
from probe.paradigms.soft import Soft
from probe.readings.reading import Reading, View
from probe.readings.still import Ratio, places_among, question_seed

ANSWERS = ("open", "noised")


@dataclass(frozen=True)
class Noise(Reading):
    """`over` is "text" (all positions but the first) or "completion" (only those that the model would write)."""

    name: ClassVar[str] = "noise"

    tau: float = 0.5
    draws: int = 8
    over: str = "text"
    answer: str = "open"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.tau < 1 or self.draws < 1 or self.over not in ("text", "completion"):
            raise ProbeError(
                "reading 'noise'",
                expected="a τ from 0 to below 1, at least 1 draw, over 'text' or 'completion'",
                found=f"τ {self.tau}, {self.draws} draws, over {self.over!r}",
                remedy="For example Noise(tau=0.5, draws=8).",
            )
        if self.answer not in ANSWERS:
            raise ProbeError(
                "reading 'noise'",
                expected="the answer 'open' or 'noised'",
                found=repr(self.answer),
                remedy="Leave it out for 'open'.",
            )

    @property
    def matched(self) -> Ratio:
        """The reading that shows a masked model as much."""
        return Ratio(rate=1 - self.tau, draws=self.draws, over=self.over, seed=self.seed, attention=self.attention)

    def view(self, model: Model, batch: Batch) -> View:
        n = len(batch)
        answer, among = places_among(batch, self.over)
        tau = torch.where(among, self.tau, 1.0)
        if self.answer == "open":
            tau = tau.masked_fill(answer, 0.0)
        tau = tau.repeat(self.draws, 1)
        hidden = tau < 1
        return View(
            hidden=hidden,
            example=torch.arange(n).repeat(self.draws),
            step=torch.arange(self.draws).repeat_interleave(n),
            ratio=torch.full((n * self.draws,), 1 - self.tau),
            soft=Soft(tau, torch.ones_like(tau), self._draws(batch).flatten(), given=~hidden),
        )

    def _draws(self, batch: Batch) -> Tensor:
        """Seeds of noise, draws × n, one per question."""
        asked = zip(batch.target.tolist(), batch.distractor.tolist(), map(dict, batch.facts), strict=True)
        first = torch.tensor([question_seed(self.seed, question) for question in asked])
        return first + torch.arange(self.draws)[:, None]
