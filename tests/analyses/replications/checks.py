"""What tests of every replication ask: an interval written out by hand, and that a result is the same from disk."""

from __future__ import annotations

import math

import pandas as pd

from analyses.result import Result


def wilson(right: int, n: int) -> tuple[float, float]:
    z, p = 1.959963984540054, right / n
    middle, reach = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - reach) / (1 + z * z / n), (middle + reach) / (1 + z * z / n)


def survives_disk(result: Result, folder) -> None:
    again = Result.open(result.save(folder))
    pd.testing.assert_frame_equal(again.table, result.table, check_dtype=False)
    assert again.figure().to_json() == result.figure().to_json()
