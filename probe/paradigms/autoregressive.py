"""Autoregression: causal attention, every token predicted from the one before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from probe.paradigms.paradigm import Lesson, Paradigm, labels_read_at


@dataclass(frozen=True)
class Autoregressive(Paradigm):
    """Next-token prediction. A mask id is carried only so that an AR model can be asked its twin's questions."""

    name: ClassVar[str] = "autoregressive"
    in_order: ClassVar[bool] = True

    def lesson(self, tokens: Tensor, generator: torch.Generator, given: Tensor | None = None) -> Lesson:
        asked = torch.ones_like(tokens, dtype=torch.bool)
        labels = labels_read_at(tokens, asked, shift=True)
        return Lesson(self.canvas(tokens), labels, torch.ones_like(labels, dtype=torch.float32))
