"""Optimizers: AdamW for any model, Muon to train a small one quickly.

Muon orthogonalises each step of a matrix, so that a few large directions do not dominate. It is for the matrices inside
the layers only; embeddings, norms and biases use AdamW. With it a backbone of this project learns its tasks in a third
of the steps. The Trainer takes one optimizer, so `CombinedOptimizer` wraps the two.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

WEIGHT_DECAY = 0.01


class CombinedOptimizer(Optimizer):
    """Several optimizers that step together, each with its own parameters."""

    def __init__(self, *parts: Optimizer):
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._share_groups()

    def _share_groups(self) -> None:
        """A schedule sets learning rates in `param_groups`, so these must be the same objects as the parts'."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # the Trainer asks for no loss
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()


def muon(module: nn.Module, learning_rate: float) -> Optimizer:
    """Muon for the matrices inside the layers, AdamW for the rest; both use the same learning rate."""
    inner = {
        weight
        for layer in module.modules()
        if isinstance(layer, nn.Linear)
        for weight in [layer.weight]
        if weight.requires_grad
    }
    tables = {layer.weight for layer in module.modules() if isinstance(layer, nn.Embedding)}
    matrices = [weight for weight in module.parameters() if weight in inner - tables]  # an unembedding may be tied
    rest = [weight for weight in module.parameters() if weight.requires_grad and weight not in inner - tables]
    return CombinedOptimizer(
        Muon(matrices, lr=learning_rate, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
        AdamW(rest, lr=learning_rate, weight_decay=WEIGHT_DECAY),
    )
