"""Overlap: the similarity of two circuits' edge scores, many resamples at a time.

Scores enter as strengths, |score|: one row per resample, one column per edge. Sorting half a million edges takes most
of the time, so only a rank correlation does it; the strongest K are found without sorting. A `Ranked` does either once,
and is compared with many others. An edge of score 0 is never among the strongest: if fewer than k edges have a score
(right-to-left edges of a causal model have none), fewer are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

_MANY, _SAMPLE = 2**16, 2**12  # edges
SCALARS = ("spearman", "weighted_jaccard")  # figures that need no k


class Ranked:
    """Strengths (draws × edges), with their order computed once on demand."""

    def __init__(self, strength: NDArray):
        self.strength = strength
        self._top: NDArray[np.intp] = np.empty((len(strength), 0), dtype=np.intp)

    @cached_property
    def scored(self) -> NDArray[np.intp]:
        """How many edges of each draw have a score."""
        return np.count_nonzero(self.strength, axis=1)

    def sizes(self, ks: Sequence[int]) -> NDArray:
        """How many are taken at each k (draws × ks)."""
        return np.minimum.outer(self.scored, ks)

    def top(self, k: int) -> NDArray[np.intp]:
        """The strongest k edges of each draw, strongest first (draws × k, or × all edges if these are fewer)."""
        k = min(k, self.strength.shape[1])
        if k > self._top.shape[1]:
            self._top = np.stack([_strongest(row, k) for row in self.strength])
        return self._top[:, :k]

    def among(self, k: int) -> NDArray[np.bool_]:
        """Which edges are among the strongest k (draws × edges)."""
        found = np.zeros(self.strength.shape, dtype=bool)
        np.put_along_axis(found, self.top(k), True, axis=1)
        return found & (self.strength > 0)

    @cached_property
    def ranks(self) -> NDArray[np.float32]:
        """Ranks from the weakest on, centred; edges of score 0 share one rank."""
        draws, edges = self.strength.shape
        ranks = np.empty((draws, edges), dtype=np.float32)
        np.put_along_axis(ranks, np.argsort(self.strength, axis=1), np.arange(edges, dtype=np.float32)[None], axis=1)
        for row, (strength, scored) in enumerate(zip(self.strength, self.scored, strict=True)):
            if scored < edges:
                ranks[row, strength == 0] = (edges - scored - 1) / 2
        return ranks - np.float32((edges - 1) / 2)


def _strongest(strength: NDArray, k: int) -> NDArray[np.intp]:
    """The strongest k of one draw, strongest first."""
    among = _candidates(strength, k)
    found = among[np.argpartition(strength[among], len(among) - k)[len(among) - k :]] if k < len(among) else among
    return found[np.argsort(strength[found])[::-1]]


def _candidates(strength: NDArray, k: int) -> NDArray[np.intp]:
    """A set of edges that includes the strongest k. For few of many, those above a threshold from a sample."""
    edges = len(strength)
    if edges > _MANY and k < edges // 16:
        sample = strength[:: edges // _SAMPLE]
        above = len(sample) * k // edges
        last = len(sample) - 1 - int(above + 4 * above**0.5 + 8)  # fewer than k exceed it once in 10,000
        found = np.flatnonzero(strength >= np.partition(sample, last)[last])
        if len(found) >= k:
            return found
    return np.arange(edges)


def similarity(a: Ranked, b: Ranked, ks: Sequence[int]) -> NDArray:
    """Jaccard at each k, then Spearman, then weighted Jaccard: (draws × (len(ks) + 2))."""
    return np.column_stack([jaccard(a, b, ks), scalars(a, b)])


def scalars(a: Ranked, b: Ranked) -> NDArray:
    """Spearman, then weighted Jaccard: (draws × 2)."""
    return np.column_stack([spearman(a, b), weighted_jaccard(a, b)])


def jaccard(a: Ranked, b: Ranked, ks: Sequence[int]) -> NDArray:
    """|A ∩ B| / |A ∪ B| of the strongest k of each, for every k."""
    return _jaccard(_shared(a, b, ks), a.sizes(ks), b.sizes(ks))


def _shared(a: Ranked, b: Ranked, ks: Sequence[int]) -> NDArray:
    """How many edges are among the strongest k of both (draws × ks)."""
    edges = a.strength.shape[1]
    most = min(max(ks), edges)
    place = np.full(edges, edges)  # for each edge in b's order, of those that it takes at all
    found = []
    for of_a, of_b, scored_a, scored_b in zip(a.top(most), b.top(most), a.scored, b.scored, strict=True):
        taken_a, taken_b = of_a[:scored_a], of_b[:scored_b]
        place[taken_b] = np.arange(len(taken_b))
        from_here_on = np.sort(np.maximum(np.arange(len(taken_a)), place[taken_a]))  # in both at every k above this
        found.append(np.searchsorted(from_here_on, ks))
        place[taken_b] = edges
    return np.array(found)


def chance(a: Ranked, b: Ranked, ks: Sequence[int]) -> NDArray:
    """The Jaccard of random sets of those sizes: K/(2N-K) if both take K of N edges."""
    one, two = a.sizes(ks), b.sizes(ks)
    return _jaccard(one * two / a.strength.shape[1], one, two)


def _jaccard(shared: NDArray, one: NDArray, two: NDArray) -> NDArray:
    with np.errstate(invalid="ignore"):  # nothing scores in either
        return shared / (one + two - shared)


def spearman(a: Ranked, b: Ranked) -> NDArray:
    """The rank correlation of strengths, row by row."""
    one, two = a.ranks, b.ranks
    with np.errstate(invalid="ignore", divide="ignore"):
        return _dot(one, two) / np.sqrt(_dot(one, one) * _dot(two, two))


def weighted_jaccard(a: Ranked, b: Ranked) -> NDArray:
    """Σ min / Σ max of strengths that each add up to 1: Σ min + Σ max = 2, so Σ min suffices."""
    least = np.minimum(shares(a.strength), shares(b.strength)).sum(1)
    return least / (2 - least)


def shares(strength: NDArray) -> NDArray:
    """Strengths that add up to 1."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return strength / strength.sum(-1, keepdims=True)


def _dot(one: NDArray, two: NDArray) -> NDArray:
    return np.einsum("de,de->d", one, two, dtype=np.float64)
