"""A recipe that takes a moment, and whether two folders hold the same weights."""

from __future__ import annotations

from pathlib import Path

import torch

import probe
from probe.training import Recipe

SHAPE = {"model_type": "llama", "layers": 2, "heads": 2, "kv_heads": 1, "d_model": 16, "d_mlp": 32}


def recipe(**changed) -> Recipe:
    plain = {"name": "t", "shape": SHAPE, "paradigm": "masked", "tasks": {"ioi": 1, "greater_than": 2}, "steps": 6}
    return Recipe.model_validate({**plain, "batch": 8, "save_every": 2, **changed})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(probe.load(folder, selftest="off").backbone.state_dict())


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
