"""The examples of a unit: drawn once for a pair, a task, a reading and a seed, and shared by every measure.

Finding the examples that both twins solve takes forward passes of both, so this is a stage of its own. It stores the
indices of the chosen examples. Their tokens are made again from the seed, which takes milliseconds.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.jobs.stages.stage import A_PAIR, UNIT, Stage

if TYPE_CHECKING:
    from probe.batch import Batch
    from probe.jobs.stages.stage import Inputs

_FILE = "chosen.json"


def _draw(given: Inputs) -> Batch:
    if given.setting("solved"):
        how, solved = given.reading, given.setting("solved")
        return given.task.batch(given.pair, given.setting("examples"), given.seed, reading=how, solved=solved)
    return given.task.examples(given.pair, given.setting("examples"), seed=given.seed)


class PoolSerializer:
    """A pool as the indices of its examples among those that were tried."""

    def save(self, product: Batch, folder: Path) -> None:
        tried = max((accuracy.tried for accuracy in product.accuracy.values()), default=len(product))
        accuracy = {name: [of.right, of.tried] for name, of in product.accuracy.items()}
        facts = {"tried": tried, "selection_rate": product.selection_rate, "reading": product.reading}
        written = {**facts, "accuracy": accuracy, "clean": product.clean.tolist()}
        (folder / _FILE).write_text(json.dumps(written), "utf-8")

    def open(self, folder: Path, given: Inputs) -> Batch:
        from probe.accuracy import Accuracy

        written = UNIT.object(folder / _FILE)
        drawn = given.task.examples(given.tokenizer, written["tried"], seed=given.seed, fewer=True)
        at = {tuple(row): number for number, row in enumerate(drawn.clean.tolist())}
        chosen = drawn[[at[tuple(row)] for row in written["clean"]]]
        accuracy: dict[str, Any] = {name: Accuracy(*of) for name, of in written["accuracy"].items()}
        return replace(chosen, accuracy=accuracy, selection_rate=written["selection_rate"], reading=written["reading"])

    def difference(self, one: Path, other: Path) -> str | None:
        first, second = (UNIT.object(folder / _FILE) for folder in (one, other))
        apart = sum(a != b for a, b in zip(first["clean"], second["clean"], strict=False))
        return None if first == second else f"{apart} of {len(first['clean'])} examples differ, or their accuracy"


POOL = Stage(
    "pool",
    "the prompts that both twins solve",
    _draw,
    PoolSerializer(),
    axes=A_PAIR,
    needs=("check",),
    settings=("examples", "solved"),
    roles=("ar", "diffusion"),
    passes=2.0,
)
