"""Questions with known answers, each with a corrupt twin: `task("ioi").examples(tokenizer, n)`.

Local tasks are decided by the left context (ioi, greater_than, induction, agreement), global ones by the whole
(countdown, sudoku, paths, infilling, cloze). Two of them, agreement and cloze, need the vocabulary of a real English
model. One of your own is a JSONL file (`task("my.jsonl")`), or a subclass of `Task` with one method
that a package declares (see docs/how_to/add_a_task.md):

    [project.entry-points."twinprobe.tasks"]
    capitals = "my_package:Capitals"
"""

from __future__ import annotations

import dataclasses
from typing import Any

from probe.batch import Batch
from probe.errors import TaskError, nearest
from probe.installed import Installed
from probe.tasks.agreement import Agreement
from probe.tasks.cloze import Cloze
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

# Those that the shipped vocabulary can write too, and those whose words only a vocabulary of English has.
TASKS: dict[str, type[Task]] = {
    kind.name: kind for kind in (IOI, GreaterThan, Induction, Countdown, Sudoku, Paths, Infilling)
}
ENGLISH: dict[str, type[Task]] = {kind.name: kind for kind in (Agreement, Cloze)}

__all__ = [
    "ENGLISH",
    "INSTALLED",
    "SHARES",
    "TASKS",
    "Batch",
    "Draw",
    "Example",
    "Piece",
    "Task",
    "Words",
    "from_jsonl",
    "split_of",
    "task",
    "written_in",
]


def _is_task(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, Task) and dataclasses.is_dataclass(thing)


INSTALLED: Installed[type[Task]] = Installed(
    "twinprobe.tasks", {**TASKS, **ENGLISH}, _is_task, "a subclass of probe.tasks.Task that is a dataclass"
)


def task(name: str, **knobs: Any) -> Task:
    """The task of a name, or of a file of examples (`task("my.jsonl")`).

    Names are those of the project's own tasks and of those that installed packages declare. Knobs are the fields of the
    task's class: `task("countdown", numbers=4)`; of a file, what `from_jsonl` takes: `task("my.jsonl",
    scope="global")`.

    >>> probe.task("ioi").scope, probe.task("countdown", numbers=3).scope
    ('local', 'global')
    """
    if name.endswith(".jsonl"):
        return from_jsonl(name, **_checked(name, knobs, ["name", "scope", "all_lines"]))
    if name not in INSTALLED:
        raise TaskError("the task", expected="a known name", found=repr(name), remedy=nearest(name, INSTALLED))
    kind: Any = INSTALLED[name]
    known = [field.name for field in dataclasses.fields(kind) if field.init]
    return kind(**_checked(name, knobs, known))


def _checked(name: str, knobs: dict[str, Any], known: list[str]) -> dict[str, Any]:
    for knob in knobs:
        if knob not in known:
            remedy = nearest(knob, known) if known else "It has none."
            raise TaskError(f"the task {name!r}", expected="a knob it has", found=repr(knob), remedy=remedy)
    return knobs


def written_in(tokenizer: Any) -> list[str]:
    """The names of the project's own tasks whose words a tokenizer has; countdown, say, needs numbers of one token."""
    return [name for name in (*TASKS, *ENGLISH) if _can_write(task(name), tokenizer)]


def _can_write(asked: Task, tokenizer: Any) -> bool:
    try:
        asked.examples(tokenizer, 1)
    except TaskError:
        return False
    return True
