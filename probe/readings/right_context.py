"""The effect of the right context: how much it changes a model's belief about the answer."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from probe.batch import Batch
from probe.models.model import Model
from probe.readings.reading import answers, comparable
from probe.readings.still import OneMask, Prefix


def gain_from_right(model: Model, batch: Batch, which: str = "clean", *, vocabulary: int | None = None) -> Tensor:
    """KL(one mask ‖ prefix) of each example (n), in nats, over the shared vocabulary without the mask."""

    def log_probabilities(logits: Tensor) -> Tensor:
        return comparable(logits, model, vocabulary).log_softmax(-1)

    with torch.no_grad():
        seen, unseen = (
            answers(model, reading.ask(model, batch, which), then=log_probabilities)
            for reading in (OneMask(), Prefix())
        )
    return kl_div(unseen, seen, reduction="none", log_target=True).sum(-1)
