"""Significance: does an estimate's interval exclude the value that would mean "nothing"?

A report needs a sentence with the finding, and a sentence written by hand goes stale. So it follows from the table by
one rule, the same for every measure. An estimate is compared with its null: the null's interval if there is one, else
the null itself, else 0 if the measure gave a p-value. Its significance is then

    above, below    the interval excludes the null, and, if the table is corrected for many tests, q < 0.05
    within          it does not; this means "no difference shown", never "no difference"
    same            the measure tested for equivalence and found it (a column `equivalent`)

Rows without a null (a profile, a layer's entropy) are described, not judged.

    judged = judge(saved.table)
    judged.significance.value_counts()
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

ABOVE, BELOW, WITHIN, SAME = "above", "below", "within", "same"
LEVEL = 0.05
_INTERVALS = ("estimate", "low", "high", "null", "null_low", "null_high")
STATISTICS = (*_INTERVALS, "n", "p", "q", "unit", "equivalent", "significance")  # columns that are not labels of a row


def judge(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column `significance`, which is missing in rows without a null."""
    import numpy as np
    import pandas as pd

    columns = {name: _numbers(table, name) for name in (*_INTERVALS, "q")}
    null = columns["null"].fillna(pd.Series(0.0, table.index).where(_numbers(table, "p").notna()))
    from_, to = columns["null_low"].fillna(null), columns["null_high"].fillna(null)
    convincing = ~(columns["q"] >= LEVEL)
    equivalent = table["equivalent"].eq(True) if "equivalent" in table else pd.Series(False, table.index)
    has_interval = columns["low"].notna() & columns["high"].notna() & from_.notna()
    cases = [
        equivalent,
        has_interval & convincing & (columns["low"] > to),
        has_interval & convincing & (columns["high"] < from_),
        has_interval,
    ]
    significance = np.select([case.to_numpy(bool) for case in cases], [SAME, ABOVE, BELOW, WITHIN], default="")
    return table.assign(significance=pd.Series(significance, table.index).where(significance != "", None))


def _numbers(table: pd.DataFrame, column: str) -> pd.Series:
    import pandas as pd

    if column not in table:
        return pd.Series(math.nan, table.index)
    return pd.Series(pd.to_numeric(table[column], errors="coerce"), table.index, dtype=float)


@dataclass(frozen=True)
class Tally:
    """How many estimates have each significance; `judged` of all `rows` have a null."""

    rows: int
    above: int
    below: int
    within: int
    same: int

    @property
    def judged(self) -> int:
        return self.above + self.below + self.within + self.same

    @property
    def differ(self) -> int:
        return self.above + self.below

    @property
    def sentence(self) -> str:
        if not self.judged:
            return f"{counted(self.rows, 'estimate')}, described without a null"
        exclude = "excludes" if self.judged == 1 else "exclude"
        parts = [f"{self.differ} of {counted(self.judged, 'estimate')} with a null {exclude} it"]
        parts += [f"{self.same} shown to be the same"] if self.same else []
        return "; ".join(parts)


def tally(judged: pd.DataFrame) -> Tally:
    """Count a judged table."""
    found = judged["significance"].tolist()
    return Tally(len(judged), *(found.count(name) for name in (ABOVE, BELOW, WITHIN, SAME)))


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
