"""What a row of a batch asks, and what a model wrote, as text."""

from __future__ import annotations

import torch

from probe.tasks import Batch
from tests.probe.tasks.vocabularies import tokenizer


def question(made: Batch, row: int, words: str = "words", which: str = "clean") -> str:
    start = int(made.positions["completion"][row, 0])
    said = tokenizer(words).decode(getattr(made, which)[row, :start].tolist(), skip_special_tokens=True)
    assert isinstance(said, str)
    return said


def spelt(ids: torch.Tensor, words: str = "words") -> str:
    return tokenizer(words).decode(ids.tolist()).replace(",", " , ")
