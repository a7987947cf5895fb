"""Resamples as weights: how often each example is drawn, as a share.

Drawing examples with replacement is the same as weighting each by how often it was drawn. A thousand resamples of 256
examples are then a matrix, and the resampled means of a whole layer × head table one product with it: no loop, no copy
of the data. Other statistics (a centre of mass, a participation ratio) are functions of such means.

    resamples(256, 1000) @ values        # 1000 × …, the mean of values (256 × …) in each resample

A comparison is paired if both models answer the same examples and get the same weights. With several seeds, seeds are
drawn first, and examples within them (`nested`: each seed has its own) or across them (`crossed`: all seeds answered
the same). Two or three seeds give little information on seeds, whatever the interval.

Drawing takes longer than multiplying, and a study asks for the same resamples at every table: the last few are kept.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
_KEPT, _LARGEST = 4, 2**22  # how many matrices are kept, and of how many weights (32 MB)

Weights = NDArray[np.float64]


def resamples(n: int, count: int = RESAMPLES, *, seed: int = 0) -> Weights:
    """The weights of `n` examples in `count` resamples (count × n), not to be written to; each row sums to 1."""
    return (_kept if n * count <= _LARGEST else _drawn)(n, count, seed)


def _drawn(n: int, count: int, seed: int) -> Weights:
    weights = _counts(n, count, np.random.default_rng(seed)) / n
    weights.flags.writeable = False
    return weights


_kept = lru_cache(_KEPT)(_drawn)


def crossed(seeds: int, n: int, count: int = RESAMPLES, *, seed: int = 0) -> Weights:
    """Weights (count × seeds × n), with seeds and examples drawn independently: every seed answered the same
    examples."""
    generator = np.random.default_rng(seed)
    over_seeds = _counts(seeds, count, generator) / seeds
    return over_seeds[:, :, None] * (_counts(n, count, generator) / n)[:, None, :]


def nested(groups: NDArray, count: int = RESAMPLES, *, seed: int = 0) -> Weights:
    """Weights (count × rows): groups are drawn, then rows within each drawn group. Groups have equal weight."""
    generator = np.random.default_rng(seed)
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    drawn = _counts(len(names), count, generator)
    weights = np.empty((count, len(group)))
    for number in range(len(names)):
        rows = np.flatnonzero(group == number)
        # A group drawn twice is two draws of its rows: as many as twice its size.
        times = generator.multinomial(drawn[:, number] * len(rows), np.full(len(rows), 1 / len(rows)))
        weights[:, rows] = times / (len(rows) * len(names))
    return weights


def uniform(*shape: int) -> Weights:
    """Equal weights, as a single resample."""
    return np.full((1, *shape), 1 / np.prod(shape))


def without_each(n: int) -> Weights:
    """The jackknife's weights (n × n): row i leaves example i out."""
    return (1 - np.eye(n)) / (n - 1)


def _counts(n: int, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """How often each of n is drawn in n draws, `count` times over."""
    drawn = generator.integers(0, n, (count, n))
    drawn += np.arange(count)[:, None] * n
    return np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n)
