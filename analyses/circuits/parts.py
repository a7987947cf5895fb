"""What each chunk of rows contributes to a circuit, and where it is kept so that an interrupted run goes on.

A part is arrays, so on disk it is an .npz without pickle, named by its rows. A folder belongs to one attribution: a
fingerprint of the model, the questions and the settings stands beside the parts, and another one is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from probe.errors import ProbeError

_ABOUT = "attribution.json"


@dataclass(frozen=True, eq=False)
class Part:
    """Sums of the scores of some rows, and what is known of each."""

    edges: NDArray  # (rows or 1, sources, targets)
    nodes: NDArray  # (rows, nodes)
    clean: NDArray  # (rows), the metric
    corrupt: NDArray  # (rows)
    neurons: NDArray | None = None  # (rows, layers, neurons)


@dataclass(frozen=True)
class Folder:
    """Parts on disk; without a path nothing is kept."""

    path: Path | None
    fingerprint: str = ""

    @classmethod
    def open(cls, path: str | Path | None, fingerprint: str) -> Folder:
        if path is None:
            return cls(None)
        about = Path(path) / _ABOUT
        if about.exists() and json.loads(about.read_text())["fingerprint"] != fingerprint:
            raise ProbeError(
                f"folder {str(path)!r}",
                expected="parts of this very attribution",
                found="those of another model, other questions or other settings",
                remedy="Give another folder, or delete this one.",
            )
        about.parent.mkdir(parents=True, exist_ok=True)
        about.write_text(json.dumps({"fingerprint": fingerprint}))
        return cls(Path(path), fingerprint)

    def parts(self) -> Iterator[tuple[slice, Part]]:
        """What is there, from the first row on and without gaps."""
        start = 0
        while self.path is not None and (found := sorted(self.path.glob(f"{start:08}-*.npz"))):
            stop = int(found[0].stem.partition("-")[2])
            with np.load(found[0], allow_pickle=False) as arrays:
                yield slice(start, stop), Part(**dict(arrays))
            start = stop

    def keep(self, rows: slice, part: Part) -> None:
        if self.path is None:
            return
        found = {one.name: getattr(part, one.name) for one in fields(part) if getattr(part, one.name) is not None}
        path = self.path / f"{rows.start:08}-{rows.stop:08}.npz"
        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            np.savez(file, **found)
        unfinished.rename(path)
