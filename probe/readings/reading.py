"""A reading: which logits of which state answer for a target token.

An AR model is asked at the slot before the answer, with the past in sight; a diffusion model at a mask, with or without
the future. Comparing the two without saying which is comparing questions, not models. So every question goes through a
`Reading`. It makes a `View` of a batch (what is hidden), and shows a model that view of the clean or of the corrupt
rows as `Prompts`: a canvas, and the slots whose logits answer. Readings are never pooled.

    ar           x_<i, causal attention whatever the model's own
    prefix       x_<i; the answer and everything after it masked: the same left information as `ar`
    one_mask     everything but the answer
    ratio        random masks at a rate, the answer always among them; several draws
    trajectory   the states of a real decoding run in which the answer was still open, one question a step
    noise        of a flow: the text at a time τ, between noise and tokens; several draws

A view holds for clean and corrupt alike, so the two can differ only in the question. What it hides never reaches a
model: the mask stands in its place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from probe.batch import Batch
from probe.errors import TaskError
from probe.models.model import Model
from probe.paradigms.canvas import Canvas
from probe.paradigms.soft import Soft

ROWS = 128  # canvases a forward pass, where nobody says otherwise


@dataclass(frozen=True)
class View:
    """What a reading hides of a batch. A row is a question: an example, or an example at one draw or one step."""

    hidden: Tensor  # (rows, slots) bool; may be shorter than the text, and longer: the slots behind it are hidden
    example: Tensor  # (rows), which example of the batch a row asks about
    step: Tensor  # (rows), the draw or the decoding step; 0 where there is only one
    ratio: Tensor  # (rows), the share that really is hidden, of the places that the reading chooses from
    written: Tensor | None = None  # (rows, slots), what a run had written; negative where the batch's own tokens stand
    soft: Soft | None = None  # the noise that a flow sees at what is hidden, and its time

    @classmethod
    def still(cls, hidden: Tensor) -> View:
        """One question an example."""
        n = len(hidden)
        return cls(hidden, torch.arange(n), torch.zeros(n, dtype=torch.long), hidden.float().mean(1))

    def of(self, tokens: Tensor) -> Tensor:
        """The rows' text (rows, slots), with nothing hidden yet, from the batch's tokens (n, length)."""
        text = pad(tokens, (0, self.hidden.shape[1] - tokens.shape[1]))[self.example.to(tokens.device)]
        if self.written is None:
            return text
        written = self.written.to(tokens.device)
        return torch.where(written < 0, text, written)


@dataclass(frozen=True)
class Prompts:
    """What one model is shown of a batch's clean or corrupt rows, and where it answers."""

    canvas: Canvas
    slots: Tensor  # (rows, 1), whose logits answer
    view: View


@dataclass(frozen=True)
class Reading(ABC):
    """One way of asking. `attention` overrides the model's own."""

    name: ClassVar[str]
    of_runs: ClassVar[bool] = False  # whether its states are those of the model's own decoding run

    attention: str | None = None

    @abstractmethod
    def view(self, model: Model, batch: Batch) -> View:
        """What is hidden, for clean and corrupt alike."""

    def ask(self, model: Model, batch: Batch, which: str = "clean", view: View | None = None) -> Prompts:
        """The batch's clean (or corrupt) rows, as this reading shows them to a model.

        Hand in the `view` where more than one thing is asked of it: a trajectory is decoded each time one is made.
        """
        view = view or self.view(model, batch)
        attention = self.attention or model.paradigm.attention
        hidden = view.hidden.to(model.device)
        answer = batch.positions["answer"].to(model.device)[view.example.to(model.device)]
        _refuse_unreadable(model, answer)
        text = view.of(model.checked(getattr(batch, which)))
        state = text if view.soft is not None else _masked(model, text, hidden, answer, attention)
        canvas = model.canvas(state, attention)
        if view.soft is not None:
            canvas = replace(canvas, soft=view.soft.map(lambda part: part.to(model.device)))
        return Prompts(canvas, model.paradigm.read_at(state, answer), view)

    def canvas(self, model: Model, batch: Batch, which: str = "clean") -> Canvas:
        return self.ask(model, batch, which).canvas

    def read_at(self, model: Model, batch: Batch, which: str = "clean") -> Tensor:
        return self.ask(model, batch, which).slots

    def logits(
        self, model: Model, batch: Batch, which: str = "clean", *, view: View | None = None, rows: int = ROWS
    ) -> Tensor:
        """The answers' logits, one row a question × vocabulary, in float32."""
        return answers(model, self.ask(model, batch, which, view), rows=rows)

    @property
    def rule(self) -> str:
        """How the questions about one example become one figure (see `aggregated`)."""
        return "mean"

    def __str__(self) -> str:
        """The reading with its knobs, as results record it."""
        knobs = {field.name: getattr(self, field.name) for field in fields(self)}
        said = ", ".join(f"{name}={value}" for name, value in knobs.items() if value is not None)
        return f"{self.name}({said})" if said else self.name


def answers(
    model: Model, asked: Prompts, *, rows: int = ROWS, then: Callable[[Tensor], Tensor] = lambda logits: logits
) -> Tensor:
    """The float32 logits at the slots that answer, or what `then` makes of each chunk (rows × vocabulary) of them.

    Only those slots are unembedded, and `then` can keep all but a chunk out of memory: a vocabulary is wide, a canvas
    long, and draws and steps are many.
    """
    read = []
    for start in range(0, len(asked.slots), rows):
        chunk = slice(start, start + rows)
        hidden = model.run_trunk(asked.canvas[chunk])
        slots = asked.slots[chunk].to(hidden.device)[..., None].expand(-1, -1, hidden.shape[-1])
        read.append(then(model.unembed(hidden.gather(1, slots))[:, 0].float()))
    return torch.cat(read)


def comparable(logits: Tensor, model: Model, vocabulary: int | None = None) -> Tensor:
    """Logits over the first `vocabulary` ids, which both twins have, with the mask out of the running.

    The mask gets the lowest finite value, not -inf, so that differences of log-probabilities stay numbers.
    """
    logits = logits[..., :vocabulary]
    if model.mask_id is None or model.mask_id >= logits.shape[-1]:
        return logits
    mask = torch.tensor([model.mask_id], device=logits.device)
    return logits.index_fill(-1, mask, torch.finfo(logits.dtype).min)


def _masked(model: Model, text: Tensor, hidden: Tensor, answer: Tensor, attention: str) -> Tensor:
    """`text` with the model's mask in place of what is hidden.

    A model without a mask can be asked only where nothing that is hidden is seen from the slot that answers; any token
    may then stand there.
    """
    model.refuse_mask_in(text.masked_fill(hidden, -1))
    if model.mask_id is not None:
        return text.masked_fill(hidden, model.mask_id)
    hidden_so_far = hidden.cumsum(1).gather(1, model.paradigm.read_at(text, answer))
    if attention == "causal" and not hidden_so_far.any():
        return text.masked_fill(hidden, 0)
    raise TaskError(
        f"model {model.name!r}",
        expected=f"a mask token, since under {attention} attention it would see what the reading hides",
        found="none",
        remedy="Pair it with its diffusion twin (probe.load_pair), whose mask it then takes, or use the reading 'ar'.",
    )


def _refuse_unreadable(model: Model, answer: Tensor) -> None:
    if model.shift and bool((answer == 0).any()):
        raise TaskError(
            f"a question to model {model.name!r}",
            expected="an answer behind the first place: with shift, nothing answers for the leftmost token",
            found="an answer at place 0",
            remedy="Put a token before it.",
        )
