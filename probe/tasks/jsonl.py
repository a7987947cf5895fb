"""A task from a file: one JSON object a line, with "clean", "corrupt", "target" and "distractor".

    {"clean": "France's capital is", "corrupt": "Spain's capital is", "target": " Paris", "distractor": " Madrid"}

All four are text, put together as they stand: a target that is a word of its own begins with its space. The prompts
of a line, and of all lines, must come to the same number of tokens, and so must the targets; a line that does not fit
is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probe.errors import TaskError
from probe.outside_files import FileKind, type_name
from probe.tasks.draw import Draw
from probe.tasks.example import Example, Piece
from probe.tasks.task import SCOPES, Task
from probe.tasks.words import Words

FILE = FileKind("the task file", TaskError, "Check the path, and mend the line or leave it out.")
# What has as many tokens as what.
LIKE = {"clean": "clean", "corrupt": "clean", "target": "target", "distractor": "target"}


@dataclass(frozen=True)
class FromJsonl(Task):
    """The lines of a file as a task. Made by `from_jsonl`."""

    name: str
    scope: str
    path: str
    lines: tuple[tuple[int, dict[str, str]], ...] = field(repr=False)

    because = "its author says so"
    corrupts = ("prompt",)

    @property
    def asks(self) -> str:
        return f"What follows each prompt of {Path(self.path).name} is asked"

    def make(self, words: Words, draw: Draw) -> Iterator[Example]:
        # All lines are looked at before one is used: whether a bad one is found must not depend on the seed.
        one, first = self.lines[0]
        wanted = {like: self._tokens(words, one, like, first[like]) for like in set(LIKE.values())}
        for number, line in self.lines:
            for key, like in LIKE.items():
                found = self._tokens(words, number, key, line[key])
                if found != wanted[like]:
                    expected = f"{wanted[like]} tokens, as the {like} of the first line"
                    raise _bad(self.path, number, key, expected, f"{found}: {line[key]!r}")
        for _, line in draw.shuffled(self.lines):
            yield Example(
                # The corrupt prompt of one line is often the clean one of another: they belong together.
                key=tuple(sorted((line["clean"], line["corrupt"]))),
                prompt=(Piece(line["clean"], "prompt", corrupt=line["corrupt"]),),
                completion=(line["target"],),
                distractor=line["distractor"],
            )

    def _tokens(self, words: Words, number: int, key: str, text: str) -> int:
        try:
            return len(words.spell(text, first=LIKE[key] == "clean"))
        except TaskError as refusal:
            raise _bad(self.path, number, key, refusal.expected, refusal.found) from None


def from_jsonl(path: str | Path, *, name: str | None = None, scope: str = "local") -> Task:
    """A task out of a JSONL file of clean, corrupt, target and distractor. Its name is the file's unless given."""
    path = Path(path)
    if scope not in SCOPES:
        raise TaskError("the scope of a task", expected=" or ".join(SCOPES), found=repr(scope), remedy="Choose one.")
    lines = tuple((number, _read(path, number, record)) for number, record in FILE.json_lines(path))
    if not lines:
        raise TaskError(
            f"the task file {path}", expected="at least one line", found="none", remedy="Write examples to it."
        )
    return FromJsonl(name or path.stem, scope, str(path), lines)


def _read(path: Path, number: int, record: Any) -> dict[str, str]:
    if not isinstance(record, dict):
        raise _bad(path, number, None, "a JSON object", type_name(record))
    for key in LIKE:
        if not isinstance(record.get(key), str) or not record[key]:
            found = f"{type(record[key]).__name__} {record[key]!r}" if key in record else "none"
            raise _bad(path, number, key, "some text", found)
    for key, other in (("corrupt", "clean"), ("distractor", "target")):
        if record[key] == record[other]:
            raise _bad(path, number, key, f"another text than {other!r}", repr(record[key]))
    return {key: record[key] for key in LIKE}


def _bad(path: str | Path, number: int, key: str | None, expected: str, found: str) -> TaskError:
    thing = f"line {number} of {path}" + (f", key {key!r}" if key else "")
    return TaskError(thing, expected=expected, found=found, remedy="Mend the line, or leave it out.")
