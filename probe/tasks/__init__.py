"""Questions with known answers, each with a corrupt twin: `task("ioi").examples(tokenizer, n)`.

Local tasks are decided by the left context (ioi, greater_than, induction), global ones by the whole (countdown,
sudoku, paths, infilling). One of your own is a subclass of `Task` with one method, or a JSONL file (`from_jsonl`).
"""

from __future__ import annotations

import dataclasses
from typing import Any

from probe.batch import Batch
from probe.errors import TaskError, nearest
from probe.tasks.countdown import Countdown
from probe.tasks.draw import Draw
from probe.tasks.example import Example, Piece
from probe.tasks.greater_than import GreaterThan
from probe.tasks.induction import Induction
from probe.tasks.infilling import Infilling
from probe.tasks.ioi import IOI
from probe.tasks.jsonl import from_jsonl
from probe.tasks.paths import Paths
from probe.tasks.splits import SHARES, split_of
from probe.tasks.sudoku import Sudoku
from probe.tasks.task import Task
from probe.tasks.words import Words

TASKS: dict[str, type[Task]] = {
    kind.name: kind for kind in (IOI, GreaterThan, Induction, Countdown, Sudoku, Paths, Infilling)
}

__all__ = ["SHARES", "TASKS", "Batch", "Draw", "Example", "Piece", "Task", "Words", "from_jsonl", "split_of", "task"]


def task(name: str, **knobs: Any) -> Task:
    """The task of that name. Knobs are the fields of its class: `task("countdown", numbers=4)`."""
    if name not in TASKS:
        raise TaskError("the task", expected="a known name", found=repr(name), remedy=nearest(name, TASKS))
    known = [field.name for field in dataclasses.fields(TASKS[name]) if field.init]  # type: ignore[arg-type]  # all are dataclasses
    for knob in knobs:
        if knob not in known:
            remedy = nearest(knob, known) if known else "It has none."
            raise TaskError(f"the task {name!r}", expected="a knob it has", found=repr(knob), remedy=remedy)
    return TASKS[name](**knobs)
