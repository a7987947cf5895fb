"""Whether the adapters that were kept are those that were trained: both give the same loss on the last batches.

A training prints losses for hours and keeps one small file at the end. If that file is not what was trained, nobody
notices until the model is used, as happened to one real twin. So the folder is loaded as a user would load it, and its
loss on the last batches is compared with the trainer's own. The two may differ by what rounding to bytes costs. It
takes a load and six forward passes.
"""

from __future__ import annotations

from pathlib import Path

import torch

from probe.errors import ProbeError
from probe.models.loading import load
from probe.paradigms import TrainingBatch

BATCHES = 3
MARGIN = 0.05  # nats, and of the loss


@torch.no_grad()
def refuse_another_model(folder: Path, expected: float, batches: list[TrainingBatch]) -> None:
    """Refuse a folder whose model has another loss than its training had."""
    kept = load(folder, selftest="off")
    found = sum(batch.to(kept.device).loss(kept.run(batch.canvas)).item() for batch in batches) / len(batches)
    if not abs(found - expected) <= MARGIN * (1 + expected):
        raise ProbeError(
            f"the adapters kept in {folder}",
            expected=f"the loss that their training has on its last batches, {expected:.3f}",
            found=f"{found:.3f}",
            remedy="Use an earlier snapshot, or train again; the checkpoints are still there.",
        )
