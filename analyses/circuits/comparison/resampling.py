"""Resampling: the strength of a circuit's edges on other prompts.

Which edges are strongest is not a mean over prompts, so the scores themselves are resampled: weights of the prompts
(draws × n) become strengths (draws × edges) in one matrix product. That needs a circuit with `example_edges`.

Resampled scores are noisier than the scores, so a statistic that depends on their order (an overlap, a rank) is lower
in resamples than in the data. `about_estimate` keeps the spread of the resamples and removes that bias.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from analyses.circuits.circuit import Circuit, refuse_means_only
from probe.errors import ProbeError

_AT_ONCE = 2**24  # resampled scores held at a time
_EXAMPLES = 64  # examples whose scores are converted to single precision at a time


class Strengths:
    """A circuit's |edge scores| for any weights of its prompts, edges in the order of the matrix."""

    def __init__(self, circuit: Circuit):
        self.circuit = circuit

    @property
    def known(self) -> bool:
        """Whether prompts can be resampled."""
        return self.circuit.by_example is not None and self.circuit.n >= 4

    @cached_property
    def _by_example(self) -> torch.Tensor:
        """(examples × edges), in the precision in which they are kept."""
        refuse_means_only(self.circuit)
        assert self.circuit.by_example is not None
        with warnings.catch_warnings():  # an array from a file is read-only, and nobody writes to it
            warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
            return torch.from_numpy(self.circuit.by_example)

    @property
    def whole(self) -> NDArray[np.float32]:
        """Over all prompts, as one draw."""
        return np.abs(self.circuit.scores[self.circuit.graph.valid])[None].astype(np.float32)

    def under(self, weights: NDArray) -> NDArray[np.float32]:
        """(draws × n) gives (draws × edges)."""
        drawn, edges = torch.from_numpy(weights.astype(np.float32)), self._by_example
        total = drawn.new_zeros(len(drawn), edges.shape[1])
        for start in range(0, len(edges), _EXAMPLES):
            of = slice(start, start + _EXAMPLES)
            total.addmm_(drawn[:, of], edges[of].float())
        return total.abs_().numpy()


def in_chunks(of: Callable[..., NDArray], edges: int, *weights: NDArray) -> NDArray:
    """`of` applied to weights, a few draws at a time."""
    rows = max(1, _AT_ONCE // edges)
    starts = range(0, len(weights[0]), rows)
    return np.concatenate([of(*(part[start : start + rows] for part in weights)) for start in starts])


def halves(n: int, count: int, *, seed: int, drawn: NDArray | None = None) -> tuple[NDArray, NDArray]:
    """Weights (count × n) of two disjoint halves of n prompts; of resampled prompts where these are `drawn`.

    All copies of a prompt go to the same half.
    """
    drawn = np.ones((count, n)) if drawn is None else drawn
    there = drawn > 0
    order = np.where(there, np.random.default_rng(seed).random((count, n)), 2.0)
    in_first = order.argsort(1).argsort(1) < there.sum(1, keepdims=True) // 2
    parts = [np.where(inside, drawn, 0.0) for inside in (in_first, ~in_first)]
    first, second = (part / np.maximum(part.sum(1, keepdims=True), 1e-12) for part in parts)
    return first, second


def about_estimate(estimate: NDArray, draws: NDArray, *, most: float = np.inf) -> tuple[NDArray, NDArray]:
    """The 95% range of resampled values, shifted so that their mean is the estimate."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # figures that are nowhere defined
        moved = draws - np.nanmean(draws, axis=0) + estimate
        low, high = np.nanquantile(moved, [0.025, 0.975], axis=0)
    return np.minimum(low, estimate), np.clip(high, estimate, most)


def refuse_unlike(a: Circuit, b: Circuit) -> None:
    """Refuse circuits of different graphs, of different numbers of prompts, or of models that are not twins."""
    names = f"circuits of {a.about.model!r} and {b.about.model!r}"
    if (a.about.from_nothing or b.about.from_nothing) and a.about.model != b.about.model:
        raise ProbeError(
            names,
            expected="a model and one trained from its weights: only then do edges correspond by name",
            found="no twin: a diffusion model that was trained from random weights",
            remedy="Compare how early and how spread their circuits are (front_loading, spread).",
        )
    if a.graph != b.graph:
        raise ProbeError(
            names,
            expected="one graph: the same layers and heads, and the same position roles and directions",
            found=f"{a.graph} and {b.graph}",
            remedy="Attribute both models with the same options (directions=True for both).",
        )
    if a.n != b.n and a.by_example is not None and b.by_example is not None:
        raise ProbeError(
            names, expected="the same prompts in both", found=f"{a.n} and {b.n}", remedy="Attribute both on one batch."
        )
