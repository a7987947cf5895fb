"""A task from a file: one JSON object a line, with "clean", "corrupt", "target" and "distractor".

    {"clean": "France's capital is", "corrupt": "Spain's capital is", "target": " Paris", "distractor": " Madrid"}

All four are text, put together as they stand: a target that is a word of its own begins with its space. The prompts
of a line, and of all lines, must come to the same number of tokens, and so must the targets; a line that does not fit
is named. A line may say more:

    "right": [" Paris", " Lyon"]           further right answers; the target is always one
    "after": " , of course"                text behind the answer, of as many tokens in every line
    "positions": {"country": "France"}     names for places in the clean prompt: a text that stands there once, or
                                           [first, last + 1] in characters

As of every task, a hash decides the split of each line, so that prompts that a probe was trained on are never asked:
60 lines are about 36 to train on, 15 to ask (`test`, the default) and 9 to calibrate with. `split="all"` takes all of
them; `all_lines=True` makes a task of which every split is all lines, for a spec.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from probe.batch import Batch
from probe.errors import TaskError
from probe.outside_files import FileKind, cut, type_name
from probe.tasks.assemble import padded
from probe.tasks.draw import Draw
from probe.tasks.example import Example, Piece
from probe.tasks.splits import ALL, SHARES
from probe.tasks.task import SCOPES, Task, switch
from probe.tasks.words import Words

FILE = FileKind("the task file", TaskError, "Check the path, and mend the line or leave it out.")
# What has as many tokens as what.
LIKE = {"clean": "clean", "corrupt": "clean", "target": "target", "distractor": "target", "after": "after"}
NEEDED = ("clean", "corrupt", "target", "distractor")
KEYS = (*LIKE, "right", "positions")
OWN = ("answer", "completion", "corrupted", "prompt")  # positions that every batch has


@dataclass(frozen=True)
class FromJsonl(Task):
    """The lines of a file as a task. Made by `from_jsonl`."""

    name: str
    scope: str
    path: str
    lines: tuple[tuple[int, dict[str, Any]], ...] = field(repr=False)
    all_lines: bool = False

    because = "its author says so"
    corrupts = ("prompt",)

    @property
    def asks(self) -> str:
        return f"What follows each prompt of {Path(self.path).name} is asked"

    def make(self, words: Words, draw: Draw) -> Iterator[Example]:
        # All lines are looked at before one is used: whether a bad one is found must not depend on the seed.
        one, first = self.lines[0]
        wanted = {like: self._tokens(words, one, like, first[like]) for like in set(LIKE.values()) if like in first}
        for number, line in self.lines:
            for key, like in LIKE.items():
                if (key in line) != (key in first):
                    what = "some text, as in the first line" if key in first else "none, as in the first line"
                    raise _bad(self.path, number, key, what, repr(line.get(key, "none")))
                if key not in line:
                    continue
                found = self._tokens(words, number, key, line[key])
                if found != wanted[like]:
                    expected = f"{wanted[like]} tokens, as the {like} of the first line"
                    raise _bad(self.path, number, key, expected, f"{found}: {line[key]!r}")
        for number, line in draw.shuffled(self.lines):
            yield Example(
                # The corrupt prompt of one line is often the clean one of another: they belong together.
                key=(*sorted((line["clean"], line["corrupt"])), *([line["after"]] if "after" in line else ())),
                prompt=(Piece(line["clean"], "prompt", corrupt=line["corrupt"]),),
                completion=(line["target"],),
                distractor=line["distractor"],
                right=[line["target"], *line["right"]] if "right" in line else None,
                rest=(line["after"],) if "after" in line else (),
                facts={"places": self._places(words, number, line)} if "positions" in line else {},
            )

    def examples(self, tokenizer: Any, n: int, *, seed: int = 0, split: str = "test", fewer: bool = False) -> Batch:
        made = super().examples(tokenizer, n, seed=seed, split=ALL if self.all_lines else split, fewer=fewer)
        return _with_places(made)

    def why_few(self, split: str) -> str:
        """What a hash of each line leaves of a file for a split."""
        questions = len({line["clean"] for _, line in self.lines})
        lines = f"{len(self.lines)} lines" + (f" ({questions} clean prompts)" if questions < len(self.lines) else "")
        if self.all_lines or split == ALL:
            return f"all there are in {lines}"
        shares = ", ".join(f"{name} {share:.0%}" for name, share in SHARES.items())
        return (
            f"all that its {lines} have for {split!r}, as a hash of each decides ({shares}); "
            "split='all' takes every line, and so does probe.task(…, all_lines=True)"
        )

    def _places(self, words: Words, number: int, line: Mapping[str, Any]) -> dict[str, list[int]]:
        """The tokens at which each named part of the clean prompt stands."""
        clean = line["clean"]
        pieces = words.pieces(words.spell(clean, first=True))
        ends = [0]
        for piece in pieces:
            ends.append(ends[-1] + _visible(piece))
        if ends[-1] != _visible(clean):
            raise _bad(self.path, number, "positions", "a tokenizer that writes a text as it stands", repr(pieces))
        places: dict[str, list[int]] = {}
        for name, (start, stop) in line["positions"].items():
            first, last = _visible(clean[:start]), _visible(clean[:stop])
            places[name] = [
                len(words.prefix) + token
                for token, (begin, end) in enumerate(pairwise(ends))
                if begin < last and end > first
            ]
        return places

    def _tokens(self, words: Words, number: int, key: str, text: str) -> int:
        try:
            return len(words.spell(text, first=LIKE[key] == "clean"))
        except TaskError as refusal:
            raise _bad(self.path, number, key, refusal.expected, refusal.found) from None


def from_jsonl(path: str | Path, *, name: str | None = None, scope: str = "local", all_lines: bool = False) -> Task:
    """A task out of a JSONL file of clean, corrupt, target and distractor. Its name is the file's unless given.

    `all_lines` makes every split all lines, where none is kept for training or calibration.
    """
    path = Path(path)
    if scope not in SCOPES:
        raise TaskError("the scope of a task", expected=" or ".join(SCOPES), found=repr(scope), remedy="Choose one.")
    lines = tuple((number, _read(path, number, record)) for number, record in FILE.json_lines(path))
    if not lines:
        raise TaskError(
            f"the task file {path}", expected="at least one line", found="none", remedy="Write examples to it."
        )
    made = FromJsonl(name or path.stem, scope, str(path), lines, all_lines)
    switch(made, "all_lines")
    return made


def _read(path: Path, number: int, record: Any) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise _bad(path, number, None, "a JSON object", type_name(record))
    for key in (*NEEDED, *(["after"] if "after" in record else [])):
        if not isinstance(record.get(key), str) or not record[key]:
            found = f"{type(record[key]).__name__} {record[key]!r}" if key in record else "none"
            raise _bad(path, number, key, "some text", found)
    for key, other in (("corrupt", "clean"), ("distractor", "target")):
        if record[key] == record[other]:
            raise _bad(path, number, key, f"another text than {other!r}", repr(record[key]))
    read = {key: record[key] for key in LIKE if key in record}
    if "right" in record:
        read["right"] = _right(path, number, record)
    if "positions" in record:
        read["positions"] = _spans(path, number, record)
    return read


def _right(path: Path, number: int, record: dict[str, Any]) -> list[str]:
    right = record["right"]
    if not isinstance(right, list) or not all(isinstance(one, str) and one for one in right):
        raise _bad(path, number, "right", "a list of texts", cut(repr(right)))
    if record["distractor"] in right:
        raise _bad(path, number, "right", "answers other than the distractor", repr(record["distractor"]))
    return right


def _spans(path: Path, number: int, record: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Where in the clean prompt each named part begins and ends, in characters."""
    named = record["positions"]
    if not isinstance(named, dict) or not named:
        raise _bad(path, number, "positions", "a mapping from names to texts", cut(repr(named)))
    taken = [name for name in named if name in OWN or not name]
    if taken:
        raise _bad(path, number, "positions", "names other than " + ", ".join(OWN), repr(taken[0]))
    return {name: _span(path, number, name, part, record["clean"]) for name, part in named.items()}


def _span(path: Path, number: int, name: str, part: Any, clean: str) -> tuple[int, int]:
    key = f"positions.{name}"
    if isinstance(part, str) and part.strip():
        if clean.count(part) != 1:
            expected = "a text that stands in the clean prompt once, or [first, last + 1] in its characters"
            raise _bad(path, number, key, expected, f"{part!r}, which stands there {clean.count(part)} times")
        start = clean.index(part)
        return start, start + len(part)
    pair = part if isinstance(part, list) and len(part) == 2 and all(type(end) is int for end in part) else None
    if pair is None or not 0 <= pair[0] < pair[1] <= len(clean) or not clean[pair[0] : pair[1]].strip():
        expected = f"a text, or [first, last + 1] within the {len(clean)} characters of the clean prompt"
        raise _bad(path, number, key, expected, cut(repr(part)))
    return pair[0], pair[1]


def _visible(text: str) -> int:
    """The bytes of a text without its white space, which tokenizers of whole words put where they like."""
    return len("".join(text.split()).encode("utf-8", "surrogateescape"))


def _with_places(batch: Batch) -> Batch:
    """A batch with the named places of its lines among its positions, for lines that all name the same."""
    named = [facts.get("places", {}) for facts in batch.facts]
    names = list(named[0])
    if not names or any(list(one) != names for one in named):
        return batch
    return replace(
        batch, positions={**batch.positions, **{name: padded([one[name] for one in named]) for name in names}}
    )


def _bad(path: str | Path, number: int, key: str | None, expected: str, found: str) -> TaskError:
    thing = f"line {number} of {path}" + (f", key {key!r}" if key else "")
    return TaskError(thing, expected=expected, found=found, remedy="Mend the line, or leave it out.")
