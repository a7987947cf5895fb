"""A kind of file from outside: what it is called in errors, which error it raises, and how it is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.errors import ProbeError
from probe.outside_files.content import decoded, read_bytes
from probe.outside_files.csv_text import read_csv
from probe.outside_files.json_text import read_json
from probe.outside_files.limits import Limits, UnreadableError
from probe.outside_files.wording import shown, type_name
from probe.outside_files.yaml_text import composed, read_yaml

if TYPE_CHECKING:
    import yaml


@dataclass(frozen=True)
class FileKind(Limits):
    """One kind of file from outside, and how much of it can be meant in earnest."""

    name: str
    error: type[ProbeError] = ProbeError
    remedy: str = "Mend the file, or get it again from where it came."

    def text(self, path: str | Path) -> str:
        """The text of a file, as UTF-8 (a byte-order mark is left out)."""
        with _Refusing(self, path):
            return decoded(read_bytes(path, self.largest))

    def text_of(self, content: bytes, source: str | Path) -> str:
        """The text of some bytes."""
        with _Refusing(self, source):
            return decoded(content)

    def json(self, path: str | Path) -> Any:
        """What a file of JSON holds."""
        return self.json_of(self.text(path), path)

    def json_of(self, text: str | bytes, source: str | Path) -> Any:
        """What some text of JSON holds; `source` names it in an error."""
        with _Refusing(self, source):
            if len(text) > self.largest:
                raise UnreadableError(f"at most {self.largest:,} bytes", f"{len(text):,}")
            return read_json(decoded(text) if isinstance(text, bytes) else text, self)

    def object(self, path: str | Path) -> dict[str, Any]:
        """The mapping that a file of JSON holds."""
        return self._mapping(self.json(path), path, "a JSON object")

    def object_of(self, text: str | bytes, source: str | Path) -> dict[str, Any]:
        """The mapping that some text of JSON holds."""
        return self._mapping(self.json_of(text, source), source, "a JSON object")

    def json_lines(self, path: str | Path) -> Iterator[tuple[int, Any]]:
        """Each line of a JSONL file that is not empty, with its number; an error names the line."""
        # Not splitlines, which also cuts at signs that JSON may hold within a string.
        for number, line in enumerate(self.text(path).split("\n"), start=1):
            if not line.strip():
                continue
            try:
                yield number, read_json(line, self)
            except UnreadableError as problem:
                raise self.refuse(f"{shown(path)}, line {number}", problem.expected, problem.found) from None

    def yaml(self, path: str | Path) -> Any:
        """What a file of YAML holds."""
        return self.yaml_of(self.text(path), path)

    def yaml_of(self, text: str, source: str | Path) -> Any:
        """What some text of YAML holds; `source` names it in an error."""
        with _Refusing(self, source):
            return read_yaml(text, self)

    def composed(self, text: str) -> yaml.Node | None:
        """YAML's tree of nodes, each with its line, within the limits; raises `UnreadableError`."""
        return composed(text, self)

    def csv(self, path: str | Path) -> list[dict[str, str]]:
        """The rows of a CSV file by the names in its first line, each row as long as that line."""
        with _Refusing(self, path):
            return read_csv(decoded(read_bytes(path, self.largest)))

    def refuse(self, source: str | Path, expected: str, found: str, remedy: str = "") -> ProbeError:
        """An error of this kind of file, for what its reader cannot know to be wrong."""
        thing = f"{self.name} {shown(source)}".strip()
        return self.error(thing, expected=expected, found=found, remedy=remedy or self.remedy)

    # Within

    def _mapping(self, read: Any, source: str | Path, expected: str) -> dict[str, Any]:
        if not isinstance(read, dict):
            raise self.refuse(source, expected, type_name(read))
        return read


TABLE = FileKind("table", finite=False, largest=1 << 30, most_values=50_000_000)  # pandas' rows, as JSON writes them


class _Refusing:
    """Turns what is wrong with a file into the error of its kind."""

    def __init__(self, kind: FileKind, source: str | Path):
        self.kind, self.source = kind, source

    def __enter__(self) -> None: ...

    def __exit__(self, _: Any, problem: BaseException | None, __: Any) -> None:
        if isinstance(problem, UnreadableError):
            where = f"{shown(self.source)}, {problem.where}" if problem.where else self.source
            raise self.kind.refuse(where, problem.expected, problem.found, problem.remedy) from None
