"""A paradigm: one way of writing text, said as what a backbone is shown and where its answer is read.

A backbone only maps tokens and a visibility matrix to logits. What makes it autoregressive, masked, block or FLUID is
everything around that call, and a `Paradigm` says all of it: the attention it was trained under, its mask token, its
shift (which slot's logits answer for the token at a place), the training batch it learns from, and what it can be
asked. Models share backbones and differ in this one value, so no code elsewhere asks "is it a diffusion model?".

Two things that belong to a paradigm stand on floors above this one, and are found from here: how it decodes, by the
class (`probe.decoding.writer.writes` registers a `Writer` for it), and how it is asked, by the name of a reading
(`asked_by`, `partly_hidden_by`). docs/how_to/add_a_paradigm.md adds a paradigm from outside the project.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from probe.errors import ProbeError
from probe.paradigms import visibility
from probe.paradigms.canvas import Canvas, places_of

if TYPE_CHECKING:
    from probe.paradigms.protocols import ModelLike

NO_LABEL = -100  # the label that cross-entropy leaves out, in torch and in transformers alike


@dataclass(frozen=True)
class TrainingBatch:
    """One training batch of any paradigm: what is shown, which token each slot must predict, and how much it counts."""

    canvas: Canvas
    labels: Tensor  # (batch, slots), NO_LABEL where a slot answers for nothing
    weights: Tensor  # (batch, slots)
    text: Tensor | None = None  # (batch, length): the clean text it was made from, where the AR model is to read it
    soft: Tensor | None = None  # (batch, slots): how much of each slot's target is the teacher's distribution

    def loss(self, logits: Tensor) -> Tensor:
        """Weighted cross-entropy in nats, per predicted token."""
        return weighted_loss(logits, self.labels, self.weights)

    def to(self, device: torch.device | str) -> TrainingBatch:
        text, soft = (None if part is None else part.to(device) for part in (self.text, self.soft))
        return TrainingBatch(self.canvas.to(device), self.labels.to(device), self.weights.to(device), text, soft)


def weighted_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Σ weight · cross-entropy over the labelled slots, divided by their number."""
    asked = labels != NO_LABEL  # picked out first: a softmax over the vocabulary costs more than most layers
    each = torch.nn.functional.cross_entropy(logits[asked].float(), labels[asked], reduction="none")
    return (each * weights[asked]).sum() / asked.sum().clamp(min=1)


@dataclass(frozen=True)
class Paradigm(ABC):
    """What is common to all ways of writing.

    `shift` says how an unknown token is read: True when the logits one slot before it answer for it, False when its own
    slot (which holds the mask) does. `clean_shift` says the same for a slot whose token is visible, where a model
    treats the two differently (WeDLM); None means that it does not.
    """

    name: ClassVar[str]
    diffuses: ClassVar[bool] = True  # False of the AR model of a pair: what a twin is made from
    # The reading that such models are always asked by, whatever their twin is asked by; None: as the twin is.
    asked_by: ClassVar[str | None] = None
    # The reading that hides part of a text from it, and the knob (from 0 to 1) that says how much.
    partly_hidden_by: ClassVar[tuple[str, str]] = ("ratio", "rate")
    # What a model may have besides its backbone, by name, and what builds it for one (probe.paradigms.attachments).
    attaches: ClassVar[Mapping[str, Callable[[ModelLike], nn.Module]]] = MappingProxyType({})
    needs: ClassVar[tuple[str, ...]] = ()  # those of them without which a trained model is not whole
    sees_mask: ClassVar[bool] = True  # whether open places hold the mask's embedding (a flow sees noise there)
    needs_mask: ClassVar[bool] = True  # whether a model without a mask token is badly declared
    owns_loss: ClassVar[bool] = False  # whether its loss is more than a training batch's over the logits of its canvas
    inpaints: ClassVar[bool] = False  # whether its training batches want to know where a task's answer is written

    attention: str = "causal"
    mask_id: int | None = None
    shift: bool = True
    clean_shift: bool | None = None

    def __post_init__(self) -> None:
        visibility.refuse_unknown(self.attention)

    def canvas(self, tokens: Tensor, *, attention: str | Tensor | None = None, padding: Tensor | None = None) -> Canvas:
        """The canvas of plain text under this paradigm's attention, or under another one that is asked for."""
        kind = self.attention if attention is None else attention
        if padding is not None:
            visibility.refuse_misread_padding(padding, tokens)
            padding = padding.to(tokens.device)
        if isinstance(kind, Tensor):
            allowed = visibility.allowed_by(kind.to(tokens.device), tokens)
            if padding is not None:
                allowed = visibility.without_padding(allowed, padding)
        else:
            allowed = visibility.visible(kind, tokens, mask_id=self.mask_id, padding=padding)
        places = places_of(tokens, padding)
        return Canvas(tokens, allowed, places, torch.zeros_like(places))

    def read_at(self, tokens: Tensor, places: Tensor) -> Tensor:
        """The slots (batch, k) whose logits answer for the tokens at `places` (batch, k)."""
        shifted = torch.full_like(places, self.shift, dtype=torch.bool)
        if self.clean_shift is not None and self.mask_id is not None:
            clean = tokens.gather(1, places) != self.mask_id
            shifted = torch.where(clean, self.clean_shift, shifted)
        return places - shifted.long()

    @property
    def block_size(self) -> int | None:
        """Tokens of the blocks that text is written in, one after the other; None where it is written as a whole."""
        return None

    def answerable(self, hidden: Tensor) -> Tensor:
        """Of the places (… × length, bool) that a state hides, those whose token such a model can say already."""
        return hidden

    def answering(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """The slots (rows × slots, bool) whose logits it was trained to answer with, where `hidden` places are open."""
        place = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        slots = self.read_at(tokens, place)
        readable = hidden & (slots >= 0)
        return torch.zeros_like(hidden).scatter_reduce(1, slots.clamp(min=0), readable, "amax")

    def shown(self, model: ModelLike, canvas: Canvas) -> dict[str, Tensor]:
        """What the backbone takes in for a canvas."""
        if canvas.soft is not None:
            raise ProbeError(
                f"a {self.name} model's canvas",
                expected="tokens",
                found="noise, which only a flow sees",
                remedy="Ask it under another reading; at τ a flow sees as much as a masked model at ratio 1-τ.",
            )
        return {"input_ids": canvas.tokens}

    def given_mask(self) -> int:
        """The mask token, which whoever hides tokens must have."""
        if self.mask_id is None:
            raise ProbeError(
                f"a {self.name} paradigm",
                expected="a mask token to hide tokens behind",
                found="none declared",
                remedy="Give it its mask_id.",
            )
        return self.mask_id

    @abstractmethod
    def training_batch(self, tokens: Tensor, generator: torch.Generator, given: Tensor | None = None) -> TrainingBatch:
        """A training batch made from clean text; every random draw comes from `generator`.

        Tokens that are `given` (boolean, of the tokens' shape) are a question: they stay whole, and the rest is noised.
        """

    def loss(self, model: ModelLike, batch: TrainingBatch) -> Tensor:
        """What a training batch teaches a model."""
        return batch.loss(model.run(batch.canvas))


def labels_read_at(tokens: Tensor, asked: Tensor, *, shift: bool) -> Tensor:
    """Labels on slots for the places that are `asked` (boolean), each put where a model with this shift answers."""
    labels = tokens.masked_fill(~asked, NO_LABEL)
    if not shift:
        return labels
    nothing = torch.full_like(labels[:, :1], NO_LABEL)
    return torch.cat([labels[:, 1:], nothing], dim=1)
