"""Overlap: how alike the edge scores of two circuits are, many resamples at a time.

Scores enter as strengths, |score|: a row for each resample, a column for each edge. Sorting takes most of the time, so
a `Ranked` is sorted once and compared with many others. An edge of score 0 is never among the strongest: where fewer
than k edges have a score (right-to-left edges of a causal model have none), fewer are taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SCALARS = ("spearman", "weighted_jaccard")  # figures that need no k


class Ranked:
    """Strengths (draws × edges) and each edge's place in their order: the strongest is at 0, what is 0 behind all."""

    def __init__(self, strength: NDArray):
        self.strength = strength
        draws, edges = strength.shape
        order = np.argsort(-strength, axis=1)
        places = np.empty((draws, edges), dtype=np.int32)
        np.put_along_axis(places, order, np.arange(edges, dtype=np.int32)[None], axis=1)
        self.scored = np.count_nonzero(strength, axis=1)
        self.places = np.where(strength > 0, places, np.int32(edges))

    def sizes(self, ks: Sequence[int]) -> NDArray:
        """How many are taken at each k (draws × ks)."""
        return np.minimum.outer(self.scored, ks)

    def ranks(self) -> NDArray[np.float32]:
        """Places about their mean, those of score 0 sharing one."""
        edges = self.places.shape[1]
        last = ((self.scored + edges - 1) / 2).astype(np.float32)
        ranks = np.where(self.places < edges, self.places, last[:, None]).astype(np.float32)
        return ranks - ranks.mean(1, keepdims=True)


def similarity(a: Ranked, b: Ranked, ks: Sequence[int]) -> NDArray:
    """Jaccard at each k, then Spearman, then weighted Jaccard: (draws × (len(ks) + 2))."""
    return np.column_stack([jaccard(a, b, ks), spearman(a, b), weighted_jaccard(a, b)])


def jaccard(a: Ranked, b: Ranked, ks: Sequence[int]) -> NDArray:
    """|A ∩ B| / |A ∪ B| of the strongest k of each, for every k."""
    from_here_on = np.maximum(a.places, b.places)  # an edge is in both sets at every k above this
    return _jaccard(np.stack([(from_here_on < k).sum(1) for k in ks], axis=1), a.sizes(ks), b.sizes(ks))


def chance(a: Ranked, b: Ranked, ks: Sequence[int]) -> NDArray:
    """The Jaccard of random sets of those sizes: K/(2N-K) where both take K of N edges."""
    one, two = a.sizes(ks), b.sizes(ks)
    return _jaccard(one * two / a.places.shape[1], one, two)


def _jaccard(shared: NDArray, one: NDArray, two: NDArray) -> NDArray:
    with np.errstate(invalid="ignore"):  # nothing scores in either
        return shared / (one + two - shared)


def spearman(a: Ranked, b: Ranked) -> NDArray:
    """The rank correlation of strengths, row by row."""
    one, two = a.ranks(), b.ranks()
    with np.errstate(invalid="ignore", divide="ignore"):
        return _dot(one, two) / np.sqrt(_dot(one, one) * _dot(two, two))


def weighted_jaccard(a: Ranked, b: Ranked) -> NDArray:
    """Σ min / Σ max of strengths that each add up to 1: their sum is 2, so the least of them say it all."""
    least = np.minimum(shares(a.strength), shares(b.strength)).sum(1)
    return least / (2 - least)


def shares(strength: NDArray) -> NDArray:
    """Strengths that add up to 1."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return strength / strength.sum(-1, keepdims=True)


def _dot(one: NDArray, two: NDArray) -> NDArray:
    return np.einsum("de,de->d", one, two, dtype=np.float64)
