"""Autoregression: causal attention, every token predicted from the one before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from probe.paradigms.paradigm import Paradigm, TrainingBatch, labels_read_at


@dataclass(frozen=True)
class Autoregressive(Paradigm):
    """Next-token prediction. The mask id only lets an AR model take its twin's input."""

    name: ClassVar[str] = "autoregressive"
    diffuses: ClassVar[bool] = False
    needs_mask: ClassVar[bool] = False
    asked_by: ClassVar[str | None] = "ar"

    def answerable(self, hidden: Tensor) -> Tensor:
        """Only the next token can be predicted: the position before it must be written."""
        before = torch.cat([torch.ones_like(hidden[..., :1]), hidden[..., :-1]], dim=-1)
        return hidden & ~before

    def answering(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """Every slot before the first hidden position: each predicts the token after it."""
        return hidden.cumsum(1) == 0

    def training_batch(self, tokens: Tensor, generator: torch.Generator, given: Tensor | None = None) -> TrainingBatch:
        asked = torch.ones_like(tokens, dtype=torch.bool)
        labels = labels_read_at(tokens, asked, shift=True)
        return TrainingBatch(self.canvas(tokens), labels, torch.ones_like(labels, dtype=torch.float32))
