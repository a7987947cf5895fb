"""Values by example: what a bootstrap resamples, before they become a table.

A measure that returns only its mean cannot be compared: the twins answered the same examples, and the paired difference
has an interval far narrower than two separate ones. So every measure first computes one value per example (n × its own
axes: layer, head, step, …) and leaves means, intervals and differences to this class.

Some examples have no value in some cells (a text without a repeated token has no induction score; an answer that was
written at the third step has none at the fifth). Those are NaN, and a cell's mean and interval are over the examples
that have one; `n` counts them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses import statistics

FEWEST = 8  # examples in a cell; with fewer, resamples without any of them are too common for an interval
_DRAWS = 2**25  # resampled figures held at a time


@dataclass(frozen=True, eq=False)
class PerExample:
    """`values`: n × one axis for each of `axes`, which has their names and labels."""

    values: NDArray
    axes: Mapping[str, list]

    @classmethod
    def of(cls, values: Any, **axes: Iterable) -> PerExample:
        return cls(np.asarray(values, dtype=np.float64), {name: list(labels) for name, labels in axes.items()})

    @classmethod
    def from_questions(cls, values: Any, example: Any, n: int, *, step: Any = None, **axes: Iterable) -> PerExample:
        """One value per example from one per question (questions × …), of which an example may have several.

        They are averaged, like draws of random masks. If `step` numbers them, as in a decoding run, they are not
        averaged but get an axis of their own.
        """
        values, example = np.asarray(values, dtype=np.float64), np.asarray(example)
        if step is None:
            total, count = np.zeros((2, n, *values.shape[1:]))
            np.add.at(total, example, np.nan_to_num(values))
            np.add.at(count, example, np.isfinite(values))
            with np.errstate(invalid="ignore"):
                return cls.of(total / count, **axes)
        steps, turn = np.unique(np.asarray(step), return_inverse=True)
        spread = np.full((n, len(steps), *values.shape[1:]), np.nan)
        spread[example, turn] = values
        return cls.of(spread, step=steps.tolist(), **axes)

    def __len__(self) -> int:
        return len(self.values)

    def table(
        self, labels: Mapping[str, str] | None = None, *, p: bool = False, resamples: int = statistics.RESAMPLES
    ) -> pd.DataFrame:
        """One row per cell: `labels`, the cell's own labels, then estimate, low, high and n (and p against a mean of
        0)."""
        index = pd.MultiIndex.from_product(list(self.axes.values()), names=list(self.axes)).to_frame(index=False)
        flat = self.values.reshape(len(self), -1)
        at_once = max(1, _DRAWS // resamples)
        parts = [_estimated(flat[:, at : at + at_once], p, resamples) for at in range(0, flat.shape[1], at_once)]
        table = pd.concat([index, pd.concat(parts, ignore_index=True)], axis=1)
        for place, (name, label) in enumerate((labels or {}).items()):
            table.insert(place, name, label)
        return table

    def minus(self, other: PerExample) -> PerExample | None:
        """The difference, example by example; None if the axes of the two differ."""
        same = self.axes == other.axes and self.values.shape == other.values.shape
        return PerExample(self.values - other.values, self.axes) if same else None


def _estimated(values: NDArray, p: bool, resamples: int) -> pd.DataFrame:
    """Means over the examples that have a value, with intervals if there are enough of them."""
    defined = np.isfinite(values)
    count = defined.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        if len(values) < 2:
            estimate = np.where(defined, values, np.nan).reshape(-1)
            columns: dict[str, Any] = {"estimate": estimate, "low": np.nan, "high": np.nan, "n": count}
            return pd.DataFrame({**columns, **({"p": np.nan} if p else {})})
        if defined.all():
            found = statistics.mean(values, count=resamples)
        else:
            found = statistics.ratio(np.nan_to_num(values), defined, count=resamples)
    columns = found.columns(p=p)
    enough = count >= min(FEWEST, len(values))
    shown = {name: np.where(enough, columns[name], np.nan) for name in ("low", "high", "p") if name in columns}
    return pd.DataFrame({**columns, **shown, "n": count})
