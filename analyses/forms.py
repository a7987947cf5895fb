"""How products of works are kept in a folder: tables, traces, circuits.

A job keeps each product on disk until the report is written, so that no work is done twice and none is lost. Here is
how each kind is written, opened again, and compared with the same product made another time (`twinprobe verify`).
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analyses.result import Result

RELATIVE, ABSOLUTE = 1e-4, 1e-6  # what another machine, or another batch size, may change of a number


class Table:
    """A Result, as the parquet file that it writes of itself."""

    def save(self, product: Result, folder: Path) -> None:
        product.save(folder)

    def open(self, folder: Path, given: Any = None) -> Result:
        return Result.open(_only(folder, "*.parquet"))

    def difference(self, one: Path, other: Path) -> str | None:
        return differences(self.open(one).table, self.open(other).table)

    def figure(self, folder: Path) -> str:
        """The table's figure, as Plotly's JSON."""
        figure = self.open(folder).figure()
        text = figure.to_json()
        assert text is not None
        return text

    def code(self) -> str:
        """A hash of the code that draws."""
        return _of_drawings()


TABLE = Table()


def differences(one: pd.DataFrame, other: pd.DataFrame) -> str | None:
    """How two tables differ, beyond what rounding explains; None where they do not."""
    if list(one.columns) != list(other.columns) or len(one) != len(other):
        return f"{len(one)} rows of {list(one.columns)}; {len(other)} of {list(other.columns)}"
    for column in one:
        first, second = one[column], other[column]
        if pd.api.types.is_numeric_dtype(first) and not pd.api.types.is_bool_dtype(first):
            a, b = (values.to_numpy(dtype=float, na_value=np.nan) for values in (first, second))
            apart = ~np.isclose(a, b, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)
        else:
            apart = ~((first.astype(str) == second.astype(str)).to_numpy())
        if apart.any():
            row = int(apart.argmax())
            return (
                f"{column!r} in {int(apart.sum())} of {len(one)} rows, row {row}: {first[row]!r}, then {second[row]!r}"
            )
    return None


def _only(folder: Path, pattern: str) -> Path:
    (file,) = folder.glob(pattern)
    return file


@cache
def _of_drawings() -> str:
    from analyses import plots

    found = hashlib.sha256()
    for file in sorted(Path(plots.__file__).parent.glob("*.py")):
        found.update(file.read_bytes())
    return found.hexdigest()[:16]
