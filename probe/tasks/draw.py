"""Random choices that come out the same on every machine.

numpy promises the raw stream of a bit generator for ever, but not what `Generator.integers` or `shuffle` make of it.
So PCG64's raw 64-bit words are all that is taken from numpy; bounding, choosing and shuffling are the few lines
below. They are taken a block at a time, which also makes a draw several times cheaper than a call into numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from probe.tasks.splits import Key

T = TypeVar("T")
BLOCK = 4096


class Draw:
    """A seeded source of choices. `purpose` keeps two tasks with the same seed from making the same choices.

    `wanted` tells whether an example of that key would be of the split that is being drawn. Examples of other splits
    are dropped anyway; a task that asks first is spared the work of making them.
    """

    def __init__(self, seed: int, purpose: str = "", wanted: Callable[[Key], bool] = lambda key: True):
        self.wanted = wanted
        self._bits = np.random.PCG64(np.random.SeedSequence([seed, *purpose.encode()]))
        self._words: list[int] = []

    def below(self, n: int) -> int:
        """An integer in 0..n-1. The bias of scaling 64 bits is below n / 2**64."""
        if not self._words:
            self._words = self._bits.random_raw(BLOCK).tolist()
        return (self._words.pop() * n) >> 64

    def between(self, first: int, last: int) -> int:
        """An integer from `first` to `last`, both included."""
        return first + self.below(last - first + 1)

    def choice(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def sample(self, items: Sequence[T], k: int) -> list[T]:
        """`k` different items, in random order (the first k steps of a Fisher-Yates shuffle)."""
        pool = list(items)
        for i in range(k):
            j = i + self.below(len(pool) - i)
            pool[i], pool[j] = pool[j], pool[i]
        return pool[:k]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        return self.sample(items, len(items))
