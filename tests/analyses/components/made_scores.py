"""Scores of a made-up model whose heads are worth what a test says: what is computed from them is known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analyses.components.scores import Scores

N, LAYERS, HEADS = 40, 6, 4
NODES = pd.DataFrame(
    {
        "node": [f"a{layer}.h{head}" for layer in range(LAYERS) for head in range(HEADS)],
        "layer": np.repeat(np.arange(LAYERS), HEADS),
        "head": np.tile(np.arange(HEADS), LAYERS),
        "kind": "head",
    }
)


def scores_with(means: np.ndarray, *, noise: float = 0.0, seed: int = 0, model: str = "ar", **other) -> Scores:
    """Scores whose means by layer and head are these, with noise."""
    drawn = means.ravel() + noise * np.random.default_rng(seed).normal(size=(N, means.size))
    return Scores(model, "made", NODES, drawn, LAYERS, **other)


def in_layer(*layers: int) -> np.ndarray:
    means = np.zeros((LAYERS, HEADS))
    means[list(layers)] = 1.0
    return means
