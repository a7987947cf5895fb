"""Doing faults, and counting what came of them."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.faults.kinds import KINDS, TOLD
from tests.faults.world import World

FAULTS = sum(count for count, _ in KINDS.values())


@dataclass
class Row:
    """What came of the faults of one kind."""

    kind: str
    told: int = 0
    mended: int = 0
    lost: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def count(self) -> int:
        return self.told + self.mended + len(self.lost)


def faults(root: Path, count: int = FAULTS, seed: int = 0) -> list[Row]:
    """So many faults in the shares of `KINDS`, in a drawn order, one after the other on one run's folder. Each has a
    seed of its own, so that one can be done again alone."""
    rows = {kind: Row(kind) for kind in KINDS}
    order = [kind for kind, (share, _) in KINDS.items() for _ in range(max(1, round(share * count / FAULTS)))]
    Random(seed).shuffle(order)
    with World.made(root) as world:
        for number, kind in enumerate(order):
            began, row = time.process_time(), rows[kind]
            try:
                outcome = KINDS[kind][1](world, Random(f"{seed}/{number}"))
                row.told, row.mended = row.told + (outcome == TOLD), row.mended + (outcome != TOLD)
            except Exception as problem:
                row.lost.append(f"fault {number} of seed {seed}: {type(problem).__name__}: {problem}")
                print(row.lost[-1], file=sys.stderr)
            row.seconds += time.process_time() - began
    return list(rows.values())


def as_markdown(rows: list[Row], seed: int) -> str:
    """The table for docs."""
    heads = ("fault", "how many", "reported", "repaired by the same command", "lost")
    cells = [(row.kind, row.count, row.told, row.mended, len(row.lost)) for row in rows]
    totals = [sum(column) for column in zip(*(cell[1:] for cell in cells), strict=True)]
    cells.append((f"all (seed {seed})", *totals))
    lines = [heads, ("---",) * len(heads), *cells]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
