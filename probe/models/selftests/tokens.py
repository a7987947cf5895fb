"""Tokens for tests that hold for any text."""

from __future__ import annotations

import torch
from torch import Tensor

from probe.models.model import Model


def some_tokens(model: Model, rows: int, length: int) -> Tensor:
    """Seeded tokens without the mask, not more than the model has positions."""
    length = min(length, model.config.max_position_embeddings)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, model.vocabulary, (rows, length), generator=generator)
    if model.mask_id is not None:
        tokens[tokens == model.mask_id] = 0 if model.mask_id else 1
    return tokens.to(model.device)
