"""A task from a file: one JSON object a line, with "clean", "corrupt", "target" and "distractor".

    {"clean": "France's capital is", "corrupt": "Spain's capital is", "target": " Paris", "distractor": " Madrid"}

All four are text, put together as they stand: a target that is a word of its own begins with its space. The prompts
of a line, and of all lines, must come to the same number of tokens, and so must the targets; a line that does not fit
is named.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from probe.errors import TaskError
from probe.tasks.draw import Draw
from probe.tasks.example import Example, Piece
from probe.tasks.task import Task
from probe.tasks.words import Words

KEYS = ("clean", "corrupt", "target", "distractor")


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
        _, first = self.lines[0]
        prompt, target = _length(words, first["clean"], first=True), _length(words, first["target"])
        for number, line in draw.shuffled(self.lines):
            for key in KEYS:
                is_prompt = key in ("clean", "corrupt")
                wanted, found = (prompt if is_prompt else target), _length(words, line[key], first=is_prompt)
                if found != wanted:
                    raise _bad(
                        self.path, number, key, f"{wanted} tokens, as in the first line", f"{found}: {line[key]!r}"
                    )
            yield Example(
                key=(line["clean"],),
                prompt=(Piece(line["clean"], "prompt", corrupt=line["corrupt"]),),
                completion=(line["target"],),
                distractor=line["distractor"],
            )


def from_jsonl(path: str | Path, *, name: str | None = None, scope: str = "local") -> Task:
    """A task out of a JSONL file of clean, corrupt, target and distractor. Its name is the file's unless given."""
    path = Path(path)
    if not path.is_file():
        raise TaskError(
            f"the task file {path}", expected="a JSONL file", found="no such file", remedy="Check the path."
        )
    numbered = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    lines = tuple((number, _read(path, number, line)) for number, line in numbered if line.strip())
    if not lines:
        raise TaskError(
            f"the task file {path}", expected="at least one line", found="none", remedy="Write examples to it."
        )
    return FromJsonl(name or path.stem, scope, str(path), lines)


def _read(path: Path, number: int, line: str) -> dict[str, str]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise _bad(path, number, None, "a JSON object", error.msg) from None
    if not isinstance(record, dict):
        raise _bad(path, number, None, "a JSON object", type(record).__name__)
    for key in KEYS:
        if not isinstance(record.get(key), str) or not record[key]:
            found = f"{type(record[key]).__name__} {record[key]!r}" if key in record else "none"
            raise _bad(path, number, key, "some text", found)
    if record["target"] == record["distractor"]:
        raise _bad(path, number, "distractor", "another text than the target", repr(record["distractor"]))
    return {key: record[key] for key in KEYS}


def _length(words: Words, text: str, *, first: bool = False) -> int:
    return len(words.spell(text, first=first))


def _bad(path: str | Path, number: int, key: str | None, expected: str, found: str) -> TaskError:
    thing = f"line {number} of {path}" + (f", key {key!r}" if key else "")
    return TaskError(thing, expected=expected, found=found, remedy="Mend the line, or leave it out.")
