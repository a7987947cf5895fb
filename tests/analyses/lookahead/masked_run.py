"""A masked model and a batch of four places that it writes."""

from __future__ import annotations

import torch

from probe.models.model import Model
from probe.paradigms import Masked
from probe.tasks import Batch
from tests.analyses.planted import batch_of
from tests.probe.tiny import MASK, model_of, tokens_of


def masked_run(n: int = 20) -> tuple[Model, Batch]:
    """Four places that are written from left to right, one a pass."""
    model = model_of("llama-gqa", Masked(mask_id=MASK, shift=False))
    clean = tokens_of(n, 7)
    corrupt = clean.clone()
    corrupt[:, 1] = (corrupt[:, 1] + 1) % MASK
    batch = batch_of(clean, corrupt, 3, (clean[:, 3] + 1) % MASK)
    batch.positions["completion"] = torch.tensor([[3, 4, 5, 6]]).expand(n, -1)
    return model, batch
