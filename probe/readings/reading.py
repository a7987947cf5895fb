"""A reading: which logits of which state answer for a target token.

An AR model is asked at the slot before the answer, with the past in sight; a diffusion model at a mask, with or without
the future. Comparing the two without saying which is comparing questions, not models. So every question goes through a
`Reading`, which turns a batch into what a model is shown (a canvas in which the answer, and whatever else the reading
hides, is masked) and says from which slots it is answered. Readings are never pooled.

    ar           x_<i, causal attention whatever the model's own
    prefix       x_<i; the answer and everything after it masked: the same left information as `ar`
    one_mask     everything but the answer
    ratio        random masks at a rate, the answer always among them; several draws
    trajectory   the states of a real decoding run, one question a step

What a reading hides never reaches the model: hidden places hold the mask token in clean and corrupt rows alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from probe.errors import TaskError
from probe.models.model import Model
from probe.paradigms.canvas import Canvas
from probe.tasks.batch import Batch

ROWS = 128  # canvases a forward pass, where nobody says otherwise


@dataclass(frozen=True)
class Asked:
    """A batch as questions to one model. A row is an example, or an example at one draw or one step of a run."""

    canvas: Canvas
    slots: Tensor  # (rows, 1), whose logits answer
    example: Tensor  # (rows), which example of the batch a row asks
    step: Tensor  # (rows), the draw or the decoding step; 0 where there is only one
    open: Tensor  # (rows) bool: whether the answer is still unknown to the model; elsewhere its logits are untrained
    ratio: Tensor  # (rows), the share of places that really are masked


@dataclass(frozen=True)
class Reading(ABC):
    """One way of asking. `attention` overrides the model's own; `aggregate` says how steps become one figure."""

    name: ClassVar[str]

    attention: str | None = None

    @abstractmethod
    def ask(self, model: Model, batch: Batch, which: str = "clean") -> Asked:
        """The batch's clean (or corrupt) rows as this reading shows them to a model."""

    def canvas(self, model: Model, batch: Batch, which: str = "clean") -> Canvas:
        return self.ask(model, batch, which).canvas

    def read_at(self, model: Model, batch: Batch, which: str = "clean") -> Tensor:
        return self.ask(model, batch, which).slots

    def logits(self, model: Model, batch: Batch, which: str = "clean", *, rows: int = ROWS) -> Tensor:
        """The answers' logits, one row a question × vocabulary, in float32."""
        return answers(model, self.ask(model, batch, which), rows=rows)

    def __str__(self) -> str:
        return self.name if self.attention is None else f"{self.name} ({self.attention} attention)"


def answers(model: Model, asked: Asked, *, rows: int = ROWS) -> Tensor:
    """Logits at the slots that answer. Only those slots are unembedded: a vocabulary is wide and a canvas long."""
    unembed = model.layout.part(model.backbone, "unembed")
    read = []
    for start in range(0, len(asked.slots), rows):
        chunk = slice(start, start + rows)
        hidden = model.run_trunk(asked.canvas[chunk])
        slots = asked.slots[chunk].to(hidden.device)[..., None].expand(-1, -1, hidden.shape[-1])
        read.append(unembed(hidden.gather(1, slots))[:, 0].float())
    return torch.cat(read)


def shown(model: Model, tokens: Tensor, hidden: Tensor, attention: str | None) -> Tensor:
    """`tokens` with the `hidden` ones behind the model's mask.

    A model without a mask token can be asked only under causal attention, where what is hidden lies behind the slot
    that answers; any token may stand there.
    """
    if model.mask_id is not None:
        return tokens.masked_fill(hidden, model.mask_id)
    if (attention or model.paradigm.attention) == "causal":
        return tokens.masked_fill(hidden, 0)
    raise TaskError(
        f"model {model.name!r}",
        expected="a mask token, to be asked under " + (attention or model.paradigm.attention) + " attention",
        found="none",
        remedy="Pair it with its diffusion twin (probe.load_pair), whose mask it then takes, or use the reading 'ar'.",
    )


def single(model: Model, batch: Batch, tokens: Tensor, hidden: Tensor, attention: str | None) -> Asked:
    """One question an example: `tokens` with `hidden` masked, answered for at the batch's answer."""
    state = shown(model, model.checked(tokens), hidden.to(model.device), attention)
    n = len(state)
    answer = batch.positions["answer"].to(state.device)
    _refuse_unreadable(model, answer)
    return Asked(
        canvas=model.canvas(state, attention),
        slots=model.paradigm.read_at(state, answer),
        example=torch.arange(n),
        step=torch.zeros(n, dtype=torch.long),
        open=torch.ones(n, dtype=torch.bool),
        ratio=hidden.float().mean(1).cpu(),
    )


def _refuse_unreadable(model: Model, answer: Tensor) -> None:
    if model.shift and bool((answer == 0).any()):
        raise TaskError(
            f"a question to model {model.name!r}",
            expected="an answer behind the first place: with shift, nothing answers for the leftmost token",
            found="an answer at place 0",
            remedy="Put a token before it.",
        )
