"""Populations of node scores with known truth, and prompts drawn from them.

A node's score on a prompt is its mean, times how hard the prompt is (shared by all nodes and by both twins), plus noise
of its own. Two regimes: in "all matter" magnitudes are log-normal, a few large and many small but none 0; in "few
matter" most nodes do nothing, and their scores are pure noise. The second is harder.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.components.scores import Scores

LAYERS, HEADS = 6, 8
REGIMES = ("all matter", "few matter")
_FEW = 10
_NODES = pd.DataFrame(
    [
        {"node": f"a{layer}.h{at}" if at < HEADS else f"m{layer}", "layer": layer, "head": at if at < HEADS else -1,
         "kind": "head" if at < HEADS else "mlp"}
        for layer in range(LAYERS)
        for at in range(HEADS + 1)
    ]
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Population:
    """The nodes' true means; `noise` is that of a single prompt, in the units of the means."""

    means: NDArray
    noise: float = 1.0

    @classmethod
    def drawn(cls, generator: np.random.Generator, regime: str) -> Population:
        signs = generator.choice([-1.0, 1.0], len(_NODES))
        if regime == "all matter":
            return cls(signs * np.exp(generator.normal(size=len(_NODES))))
        means = np.zeros(len(_NODES))
        chosen = generator.permutation(len(_NODES))[:_FEW]
        means[chosen] = (signs * np.exp(generator.normal(0.5, 0.5, len(_NODES))))[chosen]
        return cls(means)

    def permuted(self, generator: np.random.Generator) -> Population:
        """The same nodes shuffled within each layer: every measure stays the same."""
        order = np.concatenate([generator.permutation(np.flatnonzero(layer == _LAYER)) for layer in range(LAYERS)])
        return replace(self, means=self.means[order])

    def changed(self, tilt: float, power: float) -> Population:
        """Earlier by `tilt`, and more concentrated (power above 1) or more spread (below)."""
        size = np.abs(self.means) ** power * np.exp(-tilt * _LAYER / LAYERS)
        return replace(self, means=np.sign(self.means) * size * np.abs(self.means).sum() / size.sum())

    @property
    def truth(self) -> Scores:
        """Scores without noise, from which the true values are computed."""
        return _scores(np.repeat(self.means[None], 2, axis=0))

    def scores(self, hardness: NDArray, generator: np.random.Generator) -> Scores:
        drawn = hardness[:, None] * self.means + self.noise * generator.normal(size=(len(hardness), len(self.means)))
        return _scores(drawn)


_LAYER = _NODES["layer"].to_numpy()


def _scores(values: NDArray) -> Scores:
    return Scores("simulated", "simulated", _NODES, values, LAYERS)


def hardness(generator: np.random.Generator, n: int) -> NDArray:
    """Each prompt's difficulty: skewed, mean 1."""
    return generator.gamma(4, 1 / 4, n)
