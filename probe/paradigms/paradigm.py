"""A paradigm: one way of generating text, defined by a backbone's input and by the slots whose logits are read.

A backbone only maps tokens and a visibility matrix to logits. Everything around that call makes it autoregressive,
masked, block or FLUID, and a `Paradigm` defines it: the attention that it was trained with, its mask token, its shift
(which slot's logits predict the token at a place), its training batches, and its readings. Models share backbones and
differ in this one value, so no other code checks "is it a diffusion model?".

Two parts of a paradigm are in packages above this one: decoding, found by the class (`probe.decoding.writer.writes`
registers a `Writer` for it), and readings, found by name (`asked_by`, `partly_hidden_by`).
docs/how_to/add_a_paradigm.md adds a paradigm from outside the project.
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

NO_LABEL = -100  # the label that cross-entropy ignores, in torch and in transformers


@dataclass(frozen=True)
class TrainingBatch:
    """One training batch of any paradigm: the input, the token that each slot must predict, and its loss weight."""

    canvas: Canvas
    labels: Tensor  # (batch, slots), NO_LABEL where a slot predicts nothing
    weights: Tensor  # (batch, slots)
    text: Tensor | None = None  # (batch, length): the clean text, if the AR model needs it as a teacher
    soft: Tensor | None = None  # (batch, slots): how much of each slot's target is the teacher's distribution

    def loss(self, logits: Tensor) -> Tensor:
        """Weighted cross-entropy in nats, per predicted token."""
        return weighted_loss(logits, self.labels, self.weights)

    def to(self, device: torch.device | str) -> TrainingBatch:
        text, soft = (None if part is None else part.to(device) for part in (self.text, self.soft))
        return TrainingBatch(self.canvas.to(device), self.labels.to(device), self.weights.to(device), text, soft)


def weighted_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Σ weight · cross-entropy over the labelled slots, divided by their number."""
    asked = labels != NO_LABEL  # selected first: a softmax over the vocabulary costs more than most layers
    each = torch.nn.functional.cross_entropy(logits[asked].float(), labels[asked], reduction="none")
    return (each * weights[asked]).sum() / asked.sum().clamp(min=1)


@dataclass(frozen=True)
class Paradigm(ABC):
    """The base class of all paradigms.

    `shift` says which slot predicts a hidden token: True if it is the slot before, False if it is its own (which has
    the mask). `clean_shift` says the same for a visible token, for models in which the two differ (WeDLM); None means
    that they do not.
    """

    name: ClassVar[str]
    diffuses: ClassVar[bool] = True  # True for the AR model of a pair, from which a twin is made
    # The reading that such models always have, whatever their twin's is; None: the same as the twin's.
    asked_by: ClassVar[str | None] = None
    # The reading that hides part of a text, and its option (from 0 to 1) that says how much.
    partly_hidden_by: ClassVar[tuple[str, str]] = ("ratio", "rate")
    # The attachments that a model may have, by name, and their builders (probe.paradigms.attachments).
    attaches: ClassVar[Mapping[str, Callable[[ModelLike], nn.Module]]] = MappingProxyType({})
    needs: ClassVar[tuple[str, ...]] = ()  # those that a trained model must have
    sees_mask: ClassVar[bool] = True  # whether hidden positions have the mask's embedding (a flow sees noise there)
    needs_mask: ClassVar[bool] = True  # whether a model must declare a mask token
    owns_loss: ClassVar[bool] = False  # whether its loss is more than cross-entropy over the logits of its canvas
    inpaints: ClassVar[bool] = False  # whether its training batches need the positions of a task's answer

    attention: str = "causal"
    mask_id: int | None = None
    shift: bool = True
    clean_shift: bool | None = None

    def __post_init__(self) -> None:
        visibility.refuse_unknown(self.attention)

    def canvas(self, tokens: Tensor, *, attention: str | Tensor | None = None, padding: Tensor | None = None) -> Canvas:
        """The canvas of plain text under this paradigm's attention, or under a given one."""
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
        """The slots (batch, k) whose logits predict the tokens at `places` (batch, k)."""
        shifted = torch.full_like(places, self.shift, dtype=torch.bool)
        if self.clean_shift is not None and self.mask_id is not None:
            clean = tokens.gather(1, places) != self.mask_id
            shifted = torch.where(clean, self.clean_shift, shifted)
        return places - shifted.long()

    @property
    def block_size(self) -> int | None:
        """The block size if text is written block by block; None if it is written as a whole."""
        return None

    def answerable(self, hidden: Tensor) -> Tensor:
        """Of the hidden positions (… × length, bool), those whose token the model can predict in this state."""
        return hidden

    def answering(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """The slots (rows × slots, bool) whose logits were trained, given the `hidden` positions."""
        place = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        slots = self.read_at(tokens, place)
        readable = hidden & (slots >= 0)
        return torch.zeros_like(hidden).scatter_reduce(1, slots.clamp(min=0), readable, "amax")

    def shown(self, model: ModelLike, canvas: Canvas) -> dict[str, Tensor]:
        """The backbone's input for a canvas."""
        if canvas.soft is not None:
            raise ProbeError(
                f"the canvas of a model of paradigm '{self.name}'",
                expected="tokens",
                found="noise, which only a flow can take",
                remedy="Use another reading; at τ a flow sees as much as a masked model at ratio 1-τ.",
            )
        return {"input_ids": canvas.tokens}

    def given_mask(self) -> int:
        """The mask token; an error if there is none."""
        if self.mask_id is None:
            raise ProbeError(
                f"paradigm '{self.name}'",
                expected="a mask token to hide tokens with",
                found="none declared",
                remedy="Give it its mask_id.",
            )
        return self.mask_id

    @abstractmethod
    def training_batch(self, tokens: Tensor, generator: torch.Generator, given: Tensor | None = None) -> TrainingBatch:
        """A training batch made from clean text; every random draw comes from `generator`.

        Tokens that are `given` (boolean, of the tokens' shape) are the prompt: they stay clean, and the rest is noised.
        """

    def loss(self, model: ModelLike, batch: TrainingBatch) -> Tensor:
        """The loss of a model on a training batch."""
        return batch.loss(model.run(batch.canvas))


def labels_read_at(tokens: Tensor, asked: Tensor, *, shift: bool) -> Tensor:
    """Labels on slots for the `asked` positions (boolean), each at the slot that predicts it with this shift."""
    labels = tokens.masked_fill(~asked, NO_LABEL)
    if not shift:
        return labels
    nothing = torch.full_like(labels[:, :1], NO_LABEL)
    return torch.cat([labels[:, 1:], nothing], dim=1)
