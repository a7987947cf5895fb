"""Fingerprints: whether an interrupted recording and the one that would resume it are the same.

Weights are sampled, a few dozen values of every parameter: two checkpoints a training step apart differ there, and a
model of any size takes milliseconds. Tokens and masks are hashed completely.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from torch import Tensor

from probe.models.weights import weights_of

if TYPE_CHECKING:
    from probe.models.model import Model

_SAMPLES = 64


def of_weights(model: Model) -> str:
    """A fingerprint of a model's weights."""
    found = hashlib.sha256(model.layout.model_type.encode())
    for name, _, weight in weights_of(model.backbone):
        if model.config.tie_word_embeddings and name == f"{model.layout.unembed}.weight":
            continue  # the embedding again, if offloading separates tied weights
        flat = weight.detach().flatten()
        sample = flat[:: max(1, len(flat) // _SAMPLES)]
        found.update(f"{name} {tuple(weight.shape)}".encode())
        found.update(sample.float().cpu().numpy().tobytes())
    return found.hexdigest()[:16]


def of(tensors: list[Tensor], facts: dict[str, Any]) -> str:
    """A fingerprint of a recording's content and settings."""
    found = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for tensor in tensors:
        found.update(str(tuple(tensor.shape)).encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
