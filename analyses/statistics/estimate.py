"""An estimate: numbers of one shape, each with its interval, its standard error and its p-value against the null."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# From weights (resamples × n, each row summing to 1) to values (resamples × …).
Statistic = Callable[[NDArray], NDArray]


@dataclass(frozen=True, eq=False)
class Estimate:
    """Values with their intervals. After a bootstrap, `draws` are the resampled values (resamples × …)."""

    estimate: NDArray
    low: NDArray
    high: NDArray
    n: int
    p: NDArray
    error: NDArray
    draws: NDArray | None = None
    kind: str = "bca"
    level: float = 0.95

    def __getitem__(self, at: Any) -> Estimate:
        """Some of the values."""
        draws = None if self.draws is None else self.draws[(slice(None), *(at if isinstance(at, tuple) else (at,)))]
        parts = {name: np.asarray(getattr(self, name)[at]) for name in ("estimate", "low", "high", "p", "error")}
        return replace(self, **parts, draws=draws)

    def columns(self, *, p: bool = False) -> dict[str, Any]:
        """The columns of a Result's table, one row per value; p only if 0 is a meaningful null."""
        shown = {"estimate": self.estimate.ravel(), "low": self.low.ravel(), "high": self.high.ravel(), "n": self.n}
        return {**shown, "p": self.p.ravel()} if p else shown

    def row(self, *, p: bool = False) -> dict[str, Any]:
        """The same for a single value, as plain numbers."""
        found = {name: getattr(self, name) for name in ("estimate", "low", "high", *(("p",) if p else ()))}
        return {**{name: float(np.asarray(value).item()) for name, value in found.items()}, "n": self.n}

    def frame(self, *, p: bool = False, **names: Iterable[Any]) -> pd.DataFrame:
        """A tidy table: the values' axes by name, each with its labels, then the columns of the estimate.

        estimate.frame(layer=range(12), head=range(12))
        """
        if not names:
            return pd.DataFrame(self.columns(p=p))
        axes = pd.MultiIndex.from_product([list(of) for of in names.values()], names=list(names))
        return axes.to_frame(index=False).assign(**self.columns(p=p))
