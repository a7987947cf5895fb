"""Flows: Gaussian noise is transported to one-hot tokens, all positions at once (FLM).

The model sees I_t = (1-t)·noise + t·one-hot at every position (see `soft`) and its time, attends to both sides, and
predicts the token: D(I_t), a distribution over tokens, trained by plain cross-entropy. It gives the velocity (D -
z)/(1-t) with which a sampler transports noise to text (see `decoding.flowing`).

There is no mask token and no shift. In a canvas `mask_id` marks a hidden position, where the model sees noise. It is
not a token of texts or noise: V counts the others, and its embedding is never used. So readings, tasks and samplers for
masked models apply to a flow, too: a given token is its one-hot vector, at τ = 1, and a hidden one is noise, at τ = 0.
The noise is that of seed 0, the same in every row; the reading "noise" draws others, and other τ.

A flow learns to write with and without a prompt. So in half of its training batches all but the completion is given, in
some random positions are given, in some nothing, and in some each position has its own time.

    error   "cross_entropy", or "squared" (‖D - one-hot‖²), the ablation
    clock   "tau": times are uniform in τ (see `schedule`); "t": in t, the ablation
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from probe.errors import ProbeError, nearest
from probe.paradigms.canvas import Canvas
from probe.paradigms.paradigm import NO_LABEL, Paradigm, TrainingBatch
from probe.paradigms.schedule import Clock, clock_of, tau_of, time_of
from probe.paradigms.soft import Soft
from probe.paradigms.time_embedding import TimeEmbedding, input_scale

if TYPE_CHECKING:
    from probe.paradigms.protocols import ModelLike

__all__ = ["Flow", "antithetic", "tau_of", "time_of"]

ERRORS = ("cross_entropy", "squared")
CLOCKS = ("tau", "t")
MOST = 1 << 62  # seeds of noise are below this


@dataclass(frozen=True)
class Flow(Paradigm):
    """A flow from noise to one-hot tokens."""

    name: ClassVar[str] = "flow"
    partly_hidden_by: ClassVar[tuple[str, str]] = ("noise", "tau")
    sees_mask: ClassVar[bool] = False
    owns_loss: ClassVar[bool] = True
    inpaints: ClassVar[bool] = True
    attaches: ClassVar[Mapping[str, Callable[[ModelLike], nn.Module]]] = MappingProxyType(
        {"time": TimeEmbedding.beside}
    )
    needs: ClassVar[tuple[str, ...]] = ("time",)
    usual_steps: ClassVar[int] = 32
    # How often a batch's text is given: all but the completion, random positions, nothing; or each position has its
    # time.
    kinds: ClassVar[Mapping[str, float]] = MappingProxyType(
        {"prompt": 0.5, "some": 0.2, "nothing": 0.15, "own times": 0.15}
    )

    attention: str = "full"
    shift: bool = False
    error: str = "cross_entropy"
    clock: str = "tau"

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_unknown("error", self.error, ERRORS)
        _refuse_unknown("clock", self.clock, CLOCKS)
        if self.shift:
            raise ProbeError(
                f"a {self.name} paradigm",
                expected="shift=False: every slot predicts its own token",
                found="shift=True",
                remedy="Leave shift out, or set it to false.",
            )

    def clock_of(self, model: ModelLike) -> Clock:
        """The clock of this flow's times: that of the vocabulary without the mask."""
        return clock_of(model.vocabulary - 1, even=self.clock == "t")

    def state(self, model: ModelLike, tokens: Tensor, soft: Soft) -> Tensor:
        """z, the state itself (batch, slots, vocabulary)."""
        return soft.mixed(tokens, model.vocabulary, self.clock_of(model), self.given_mask())

    # What the backbone is shown

    def canvas(self, tokens: Tensor, *, attention: str | Tensor | None = None, padding: Tensor | None = None) -> Canvas:
        return replace(super().canvas(tokens, attention=attention, padding=padding), soft=self.still(tokens))

    def still(self, tokens: Tensor) -> Soft:
        """Given where there is a token, noise (of seed 0) where the canvas has the mask id."""
        given = tokens != self.given_mask()
        tau = given.float()
        draw = torch.zeros(1, dtype=torch.long, device=tokens.device)
        return Soft(tau, torch.ones_like(tau), draw, given)

    def shown(self, model: ModelLike, canvas: Canvas) -> dict[str, Tensor]:
        soft = canvas.soft or self.still(canvas.tokens).map(lambda part: part.to(canvas.tokens.device))
        return {"inputs_embeds": self.embedded(model, canvas.tokens, soft)}

    def embedded(self, model: ModelLike, tokens: Tensor, soft: Soft) -> Tensor:
        """The input of a soft state (see `models.time_embedding`)."""
        clock, table = self.clock_of(model), model.embedding_table
        mixed = self.state(model, tokens, soft).to(table.dtype)
        scale = input_scale(clock.time_of(soft.tau), clock.vocabulary)[..., None].to(table.dtype)
        # A given token is looked up, not multiplied: its input equals that of the autoregressive model.
        entered = torch.where(soft.given[..., None], model.embedding(tokens), scale * (mixed @ table))
        for name, times in self.told(soft).items():
            if name in model.attachments:
                entered = entered + model.attachments[name](times)
        return entered

    def told(self, soft: Soft) -> dict[str, Tensor]:
        """The time inputs, each by the attachment that embeds it."""
        return {"time": soft.tau}

    # What it learns from

    def training_batch(
        self, tokens: Tensor, generator: torch.Generator, completion: Tensor | None = None
    ) -> TrainingBatch:
        """Text at the times of one training batch. `completion` has the k positions of a task's answer; text without
        one is completed from a position drawn for each row."""
        tau, given = self.times_of(tokens, generator, completion)
        draw = torch.randint(MOST, (len(tokens),), generator=generator, device=tokens.device)
        canvas = replace(super().canvas(tokens), soft=Soft(tau, torch.ones_like(tau), draw, given))
        labels = tokens.masked_fill(given, NO_LABEL)
        return TrainingBatch(canvas, labels, torch.ones_like(labels, dtype=torch.float32))

    def times_of(self, tokens: Tensor, generator: torch.Generator, completion: Tensor | None) -> tuple[Tensor, Tensor]:
        """τ of every position (batch × length), and which positions are given: τ is 1 there, elsewhere the row's or the
        position's own."""
        draws = {"generator": generator, "device": tokens.device}
        rows, length = tokens.shape
        shares = torch.tensor(list(self.kinds.values()), device=tokens.device)
        kind = torch.multinomial(shares, rows, replacement=True, generator=generator)[:, None]
        place = torch.arange(length, device=tokens.device)
        if completion is None:
            prompt = place < torch.randint(length, (rows, 1), **draws)
        else:
            prompt = ~torch.isin(place, completion.to(tokens.device)).expand(rows, -1)
        some = torch.rand(tokens.shape, **draws) < torch.rand(rows, 1, **draws)
        given = ((kind == 0) & prompt) | ((kind == 1) & some)
        rows_own, places_own = antithetic(rows, generator, tokens.device), torch.rand(tokens.shape, **draws)
        return torch.where(kind == 3, places_own, rows_own[:, None]).masked_fill(given, 1.0), given

    def loss(self, model: ModelLike, batch: TrainingBatch) -> Tensor:
        """The error of D at the hidden positions, per position."""
        logits = model.run(batch.canvas, eager=model.device.type == "cpu")  # quicker there on short texts
        if self.error == "cross_entropy":
            return batch.loss(logits)
        asked = batch.labels != NO_LABEL
        truth = torch.nn.functional.one_hot(batch.labels.clamp(min=0), logits.shape[-1])
        each = (logits.float().softmax(-1) - truth).square().sum(-1)
        return (each * batch.weights * asked).sum() / asked.sum().clamp(min=1)


def antithetic(rows: int, generator: torch.Generator, device: torch.device | str = "cpu") -> Tensor:
    """Stratified uniform times (rows): one from each stratum of [0, 1), and their mirror images."""
    half = -(-rows // 2)
    drawn = (torch.arange(half, device=device) + torch.rand(half, generator=generator, device=device)) / half
    both = torch.cat([drawn, 1 - drawn])[:rows]
    return both[torch.randperm(rows, generator=generator, device=device)].clamp(max=1 - 2**-20)


def _refuse_unknown(what: str, said: str, known: tuple[str, ...]) -> None:
    if said not in known:
        raise ProbeError(
            f"{what} {said!r} of a flow", expected="one of " + ", ".join(known), found=repr(said),
            remedy=nearest(said, known),
        )  # fmt: skip
