"""How products of stages are kept in a folder: tables, traces, circuits.

A job keeps each product on disk until the report is written, so that no work is done twice and none is lost. Each kind
is written, opened again, and compared with the same product computed another time (`twinprobe verify`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.outside_files import is_file

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import xarray

    from analyses.circuits.circuit import Circuit
    from analyses.lens.tuned import TunedLens
    from analyses.result import Result
    from probe.jobs.stages.stage import Inputs

RELATIVE, ABSOLUTE = 1e-4, 1e-6  # how much another machine, or another batch size, may change a number


class Table:
    """A Result, as the parquet file of `Result.save`."""

    def save(self, product: Result, folder: Path) -> None:
        product.save(folder)

    def open(self, folder: Path, given: Any = None) -> Result:
        from analyses.result import Result

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


class Tables:
    """Several Results from the same forward passes, by name."""

    def save(self, product: Mapping[str, Result], folder: Path) -> None:
        for name, result in product.items():
            result.save(folder / name)

    def open(self, folder: Path, given: Any = None) -> dict[str, Result]:
        return {inner.name: TABLE.open(inner) for inner in sorted(folder.iterdir()) if inner.is_dir()}

    def difference(self, one: Path, other: Path) -> str | None:
        first, second = self.open(one), self.open(other)
        if first.keys() != second.keys():
            return f"tables {sorted(first)}, then {sorted(second)}"
        found = {name: differences(first[name].table, second[name].table) for name in first}
        return next((f"{name}: {difference}" for name, difference in found.items() if difference), None)


class Circuits:
    """A circuit: its arrays as numpy files, its model, task and method as JSON.

    Edge scores by example are a file of their own that is memory-mapped, since most measures read a few thousand of
    half a million.
    """

    MAPPED = "by_example"

    def save(self, product: Circuit, folder: Path) -> None:
        import numpy as np

        from analyses.circuits.circuit import ARRAYS

        arrays = {name: getattr(product, name) for name in ARRAYS if getattr(product, name) is not None}
        if self.MAPPED in arrays:
            np.save(folder / f"{self.MAPPED}.npy", arrays.pop(self.MAPPED), allow_pickle=False)
        np.savez(folder / "circuit.npz", **arrays)
        graph = {field.name: getattr(product.graph, field.name) for field in fields(product.graph)}
        about = {"graph": graph, "about": product.about.as_dict()}
        (folder / "circuit.json").write_text(json.dumps(about, default=float), "utf-8")

    def open(self, folder: Path, given: Any = None) -> Circuit:
        import numpy as np

        from analyses.circuits.circuit import Circuit
        from probe.jobs.stages.stage import UNIT

        about = UNIT.object(folder / "circuit.json")
        with np.load(folder / "circuit.npz", allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
        mapped = folder / f"{self.MAPPED}.npy"
        if is_file(mapped):
            held[self.MAPPED] = np.load(mapped, mmap_mode="r", allow_pickle=False)
        return Circuit.from_parts(about, held, folder)

    def difference(self, one: Path, other: Path) -> str | None:
        first, second = self.open(one), self.open(other)
        apart = _apart(first.scores, second.scores)
        return f"{int(apart.sum())} of {apart.size} edges' scores" if apart.any() else None


class ManyCircuits:
    """Circuits by name, each in a folder of its own."""

    def save(self, product: Mapping[str, Circuit], folder: Path) -> None:
        for name, circuit in product.items():
            (folder / name).mkdir()
            CIRCUIT.save(circuit, folder / name)

    def open(self, folder: Path, given: Any = None) -> dict[str, Circuit]:
        return {inner.name: CIRCUIT.open(inner) for inner in sorted(folder.iterdir()) if inner.is_dir()}

    def difference(self, one: Path, other: Path) -> str | None:
        names = [inner.name for inner in sorted(one.iterdir()) if inner.is_dir()]
        found = {name: CIRCUIT.difference(one / name, other / name) for name in names}
        return next((f"{name}: {difference}" for name, difference in found.items() if difference), None)


class Traces:
    """A trace, which recording has written already."""

    def save(self, product: Any, folder: Path) -> None:
        product.close()

    def open(self, folder: Path, given: Any = None) -> xarray.Dataset:
        from probe.tracing import open_trace

        return open_trace(_only(folder, "*.zarr"), verify=False)  # the store has hashed it

    def difference(self, one: Path, other: Path) -> str | None:
        first, second = self.open(one), self.open(other)
        for name in first.data_vars:
            a, b = first[name].values, second[name].values
            if a.shape != b.shape or _apart(a, b).any():
                return f"{name!r} differs"
        return None


class Lenses:
    """A tuned lens, as safetensors."""

    def save(self, product: TunedLens, folder: Path) -> None:
        product.save(folder)

    def open(self, folder: Path, given: Inputs) -> TunedLens:
        from analyses.lens.tuned import TunedLens

        return TunedLens.open(folder, given.model)

    def difference(self, one: Path, other: Path) -> str | None:
        import numpy as np
        from safetensors.numpy import load_file

        first, second = (load_file(_only(folder, "*.safetensors")) for folder in (one, other))
        # Training amplifies rounding errors; on one machine a repeated run gives the same lens to the last digit.
        same = all(np.allclose(first[name], second[name], rtol=1e-2, atol=1e-3) for name in first)
        return None if same else "other maps"


TABLE, TABLES, CIRCUIT, CIRCUITS, TRACE, LENS = Table(), Tables(), Circuits(), ManyCircuits(), Traces(), Lenses()


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Where two arrays differ by more than rounding, relative to their scale."""
    import numpy as np

    scale = float(np.nanmax(np.abs(one), initial=0.0))
    return ~np.isclose(one, other, rtol=RELATIVE, atol=max(ABSOLUTE * scale, 1e-12), equal_nan=True)


def differences(one: pd.DataFrame, other: pd.DataFrame) -> str | None:
    """How two tables differ by more than rounding; None if they do not."""
    import numpy as np
    import pandas as pd

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
