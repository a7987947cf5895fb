"""A reading: which logits of which state predict a target token.

An AR model predicts the answer at the slot before it, from the left context; a diffusion model at a mask, with or
without the right context. If these differ, a comparison is of questions, not of models. So every question goes through
a `Reading`. It makes a `View` of a batch (which tokens are hidden), and turns that view of the clean or the corrupt
rows into `Prompts` for a model: a canvas, and the slots whose logits predict the answer. Results under different
readings are never pooled.

    ar           x_<i, causal attention whatever the model's own
    prefix       x_<i; the answer and everything after it masked: the same left information as `ar`
    one_mask     everything but the answer
    ratio        random masks at a rate, the answer always among them; several draws
    trajectory   the states of a real decoding run while the answer was still masked, one question per step
    noise        for flows: the text at a time τ, between noise and tokens; several draws

A view is the same for clean and corrupt, so the two can differ only in the question. Hidden tokens never reach a model:
it gets masks instead.
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

ROWS = 128  # default number of canvases per forward pass


@dataclass(frozen=True)
class View:
    """Which tokens of a batch a reading hides. A row is a question: an example, or an example at one draw or step."""

    hidden: Tensor  # (rows, slots) bool; may be shorter than the text, or longer: slots after the text are hidden
    example: Tensor  # (rows), the example of the batch
    step: Tensor  # (rows), the draw or the decoding step; 0 if there is only one
    ratio: Tensor  # (rows), the share actually hidden, of the positions that the reading chooses from
    written: Tensor | None = None  # (rows, slots), what a run had written; negative where the batch's own tokens are
    soft: Soft | None = None  # the noise that a flow sees at hidden positions, and its time

    @classmethod
    def still(cls, hidden: Tensor) -> View:
        """One question per example."""
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
    """One model's input from a batch's clean or corrupt rows, and the slots that predict the answers."""

    canvas: Canvas
    slots: Tensor  # (rows, 1), whose logits answer
    view: View


@dataclass(frozen=True)
class Reading(ABC):
    """Which tokens a model sees when it answers. `attention` overrides the model's own."""

    name: ClassVar[str]
    of_runs: ClassVar[bool] = False  # whether its states come from the model's own decoding run

    attention: str | None = None

    @abstractmethod
    def view(self, model: Model, batch: Batch) -> View:
        """What is hidden, for clean and corrupt alike."""

    def ask(self, model: Model, batch: Batch, which: str = "clean", view: View | None = None) -> Prompts:
        """The batch's clean (or corrupt) rows under this reading, as a model's input.

        Pass the `view` if you use it more than once: making one of a trajectory decodes each time.
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
        """The answers' logits, questions × vocabulary, in float32."""
        return answers(model, self.ask(model, batch, which, view), rows=rows)

    @property
    def rule(self) -> str:
        """How the questions about one example are combined into one value (see `aggregated`)."""
        return "mean"

    def __str__(self) -> str:
        """The reading with its options, as results record it."""
        knobs = {field.name: getattr(self, field.name) for field in fields(self)}
        said = ", ".join(f"{name}={value}" for name, value in knobs.items() if value is not None)
        return f"{self.name}({said})" if said else self.name


def answers(
    model: Model, asked: Prompts, *, rows: int = ROWS, then: Callable[[Tensor], Tensor] = lambda logits: logits
) -> Tensor:
    """The float32 logits at the answers' slots, or `then` applied to each chunk (rows × vocabulary) of them.

    Only those slots are unembedded, and with `then` only one chunk is in memory at a time.
    """
    read = []
    for start in range(0, len(asked.slots), rows):
        chunk = slice(start, start + rows)
        hidden = model.run_trunk(asked.canvas[chunk])
        slots = asked.slots[chunk].to(hidden.device)[..., None].expand(-1, -1, hidden.shape[-1])
        read.append(then(model.unembed(hidden.gather(1, slots))[:, 0].float()))
    return torch.cat(read)


def comparable(logits: Tensor, model: Model, vocabulary: int | None = None) -> Tensor:
    """Logits over the first `vocabulary` ids, which both twins have, with the mask excluded.

    The mask gets the lowest finite value, not -inf, so that differences of log-probabilities stay finite.
    """
    logits = logits[..., :vocabulary]
    if model.mask_id is None or model.mask_id >= logits.shape[-1]:
        return logits
    mask = torch.tensor([model.mask_id], device=logits.device)
    return logits.index_fill(-1, mask, torch.finfo(logits.dtype).min)


def _masked(model: Model, text: Tensor, hidden: Tensor, answer: Tensor, attention: str) -> Tensor:
    """`text` with the model's mask at hidden positions.

    A model without a mask works only if the answer's slot sees no hidden position; any token may then be there.
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
            expected="an answer after the first position: with shift, no slot predicts the leftmost token",
            found="an answer at place 0",
            remedy="Put a token before it.",
        )
