"""Two readings of a spec that ask the same question on a task.

`prefix` hides the answer and all that follows, `one_mask` the answer alone. Where nothing follows the answer (`ioi`,
`greater_than`), both hide the same slots, so a job that asks both computes everything twice and compares a number with
itself. A dry run says so before the job has cost anything:

    same_questions(plan)     [SameQuestion(task="ioi", readings=("prefix", "one_mask"), pairs=("zoo:masked",))]

The cost is two examples for each pair and task, which the dry run's estimate makes as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from probe.errors import ProbeError
from probe.jobs.run.plan import Plan

if TYPE_CHECKING:
    from probe.batch import Batch
    from probe.readings import Reading


@dataclass(frozen=True)
class SameQuestion:
    """Readings that hide the same slots of a task's prompts, in some pairs."""

    task: str
    readings: tuple[str, ...]
    pairs: tuple[str, ...]

    def __str__(self) -> str:
        asked = " and ".join(self.readings)
        return f"{asked} ask the same question on {self.task} ({', '.join(self.pairs)}): nothing follows the answer"


def same_questions(plan: Plan) -> list[SameQuestion]:
    """The tasks on which readings of a plan's spec coincide; none where one reading is asked."""
    readings = {label: of.made() for label, of in plan.spec.labelled["reading"].items()}
    if len(readings) < 2:
        return []
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for pair, identity in plan.pairs.items():
        words = identity.models["ar"].source.tokenizer()
        for label, task in plan.spec.labelled["task"].items():
            batch = task.made().examples(words, 2, fewer=True)
            for alike in _alike(readings, batch):
                found.setdefault((label, alike), []).append(pair)
    return [SameQuestion(task, alike, tuple(pairs)) for (task, alike), pairs in found.items()]


def _alike(readings: Mapping[str, Reading], batch: Batch) -> list[tuple[str, str]]:
    """Pairs of readings that hide the same slots under the model's own attention."""
    hidden = {label: _hidden(reading, batch) for label, reading in readings.items()}
    return [
        (one, other)
        for one, other in combinations(hidden, 2)
        if (mine := hidden[one]) is not None and mine == hidden[other]
    ]


def _hidden(reading: Reading, batch: Batch) -> list[list[bool]] | None:
    """The slots that a reading hides; None if that is not known without a model, or the task does not suit it."""
    from probe.readings.still import OneMask, Prefix

    if not isinstance(reading, OneMask | Prefix):
        return None
    try:
        return reading.hides(batch).tolist()
    except ProbeError:
        return None
