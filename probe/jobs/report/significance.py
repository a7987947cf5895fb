"""What a table says, row by row, without an opinion: does the interval leave out what would mean "nothing"?

A report that led with figures would leave its reader to guess which of them matter; one that led with a sentence
written by hand would go stale. So the verdict is read off the numbers by one rule, the same for every measure. An
estimate is held against its null: the interval of the null where chance or noise gives one, else the null itself, else
0 where the measure gave a p-value (against 0). Then it is

    above, below    the interval leaves the null out, and, where the table is corrected for many tests, q < 0.05
    within          it does not; this is "no difference shown", never "no difference"
    same            the measure tested for equivalence and found it (a column `equivalent`)

and rows that have no null (a profile, a layer's entropy) are described, not judged.

    judged = judge(saved.table)
    judged.held.value_counts()
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
STATISTICS = (*_INTERVALS, "n", "p", "q", "unit", "equivalent", "held")  # columns that do not name a row


def judge(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column `held`; it is missing where a row has no null to be held against."""
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
    verdict = np.select([case.to_numpy(bool) for case in cases], [SAME, ABOVE, BELOW, WITHIN], default="")
    return table.assign(held=pd.Series(verdict, table.index).where(verdict != "", None))


def _numbers(table: pd.DataFrame, column: str) -> pd.Series:
    import pandas as pd

    if column not in table:
        return pd.Series(math.nan, table.index)
    return pd.Series(pd.to_numeric(table[column], errors="coerce"), table.index, dtype=float)


@dataclass(frozen=True)
class Tally:
    """How many estimates came out how; `judged` of all `rows` had a null."""

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
        leave = "leaves" if self.judged == 1 else "leave"
        parts = [f"{self.differ} of {counted(self.judged, 'estimate')} held against a null {leave} it out"]
        parts += [f"{self.same} shown to be the same"] if self.same else []
        return "; ".join(parts)


def tally(judged: pd.DataFrame) -> Tally:
    """Count a judged table."""
    found = judged["held"].tolist()
    return Tally(len(judged), *(found.count(name) for name in (ABOVE, BELOW, WITHIN, SAME)))


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
