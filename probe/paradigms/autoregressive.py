"""Autoregression: causal attention, every token predicted from the one before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from probe.paradigms.paradigm import Paradigm, TrainingBatch, labels_read_at


@dataclass(frozen=True)
class Autoregressive(Paradigm):
    """Next-token prediction. A mask id is carried only so that an AR model can be asked its twin's questions."""

    name: ClassVar[str] = "autoregressive"
    diffuses: ClassVar[bool] = False
    needs_mask: ClassVar[bool] = False
    asked_by: ClassVar[str | None] = "ar"

    def answerable(self, hidden: Tensor) -> Tensor:
        """It knows only the next token: the place before must be written (before the first, nothing is)."""
        before = torch.cat([torch.ones_like(hidden[..., :1]), hidden[..., :-1]], dim=-1)
        return hidden & ~before

    def answering(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """Every slot before the first hidden place: each answers for the token after it."""
        return hidden.cumsum(1) == 0

    def training_batch(self, tokens: Tensor, generator: torch.Generator, given: Tensor | None = None) -> TrainingBatch:
        asked = torch.ones_like(tokens, dtype=torch.bool)
        labels = labels_read_at(tokens, asked, shift=True)
        return TrainingBatch(self.canvas(tokens), labels, torch.ones_like(labels, dtype=torch.float32))
