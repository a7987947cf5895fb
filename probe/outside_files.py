"""Files from outside: read in one place, within limits, so that whatever they hold is answered by a sentence.

A recipe, a catalog, a checkpoint's config.json, somebody's run folder: each may come from another person, from a
download that broke off, or from a program that went wrong. Python's own readers meet such files with tracebacks of many
kinds, or with minutes of work: JSON that is nested 100,000 deep, a number of 5,000 digits, bytes that are no UTF-8, a
named pipe that never ends, an alias of an alias of an alias. So no other module reads them. A `FileKind` says what a
kind of file is called in errors, which error it raises, and how much of it can be meant in earnest:

    RECIPE = FileKind("recipe", remedy="The shipped recipes are examples.", largest=1 << 20)
    RECIPE.yaml("mine.yaml")          # plain data, or: recipe mine.yaml, line 3: expected …; found …

What comes back is plain: None, bools, whole numbers of at most 40 digits, floats, strings that can be encoded, lists
and mappings. No key stands twice in a mapping. NaN and infinity are refused, but in files where our own writers put
them (`finite=False`). Reading costs about a tenth more than `json.loads`; the first limit that is passed ends it.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.errors import ProbeError

if TYPE_CHECKING:
    import yaml
    from pydantic import ValidationError

DIGITS = 40  # of one whole number; 64 bits have 20
MOST_FAULTS = 20  # of one file that are told at once
LONGEST_SHOWN = 200  # characters of a path or a value in an error
_LONE = re.compile(r"\\u[dD][89a-fA-F]")
_BREAKS = "\n\r\x85\u2028\u2029"
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}


class UnreadableError(Exception):
    """What is wrong with a text, and where in it ("line 3", or nothing)."""

    def __init__(self, expected: str, found: str, where: str = "", remedy: str = ""):
        self.expected, self.found, self.where, self.remedy = expected, found, where, remedy
        super().__init__(expected, found, where, remedy)


@dataclass(frozen=True)
class FileKind:
    """One kind of file from outside, and how much of it can be meant in earnest."""

    name: str
    error: type[ProbeError] = ProbeError
    remedy: str = "Mend the file, or get it again from where it came."
    largest: int = 64_000_000  # bytes
    deepest: int = 60  # lists and mappings in one another
    most_keys: int = 20_000  # of one mapping
    most_values: int = 5_000_000  # in all
    most_parts: int = 10_000  # of YAML: lines and commas; reading so many takes a second
    finite: bool = True  # whether NaN and infinity are refused

    def text(self, path: str | Path) -> str:
        """The text of a file, as UTF-8 (a byte-order mark is left out)."""
        with self._told(path):
            return _decoded(_bytes(path, self.largest))

    def text_of(self, content: bytes, source: str | Path) -> str:
        """The text of some bytes."""
        with self._told(source):
            return _decoded(content)

    def json(self, path: str | Path) -> Any:
        """What a file of JSON holds."""
        return self.json_of(self.text(path), path)

    def json_of(self, text: str | bytes, source: str | Path) -> Any:
        """What some text of JSON holds; `source` names it in an error."""
        with self._told(source):
            if len(text) > self.largest:
                raise UnreadableError(f"at most {self.largest:,} bytes", f"{len(text):,}")
            return self._json(_decoded(text) if isinstance(text, bytes) else text)

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
                yield number, self._json(line)
            except UnreadableError as problem:
                raise self.refuse(f"{_shown(path)}, line {number}", problem.expected, problem.found) from None

    def yaml(self, path: str | Path) -> Any:
        """What a file of YAML holds."""
        return self.yaml_of(self.text(path), path)

    def yaml_of(self, text: str, source: str | Path) -> Any:
        """What some text of YAML holds; `source` names it in an error."""
        with self._told(source):
            root = self.composed(text)
            if root is None:
                return None
            _refuse_twice(root)
            return constructed(root)

    def composed(self, text: str) -> yaml.Node | None:
        """YAML's tree of nodes, each with its line, within the limits; raises `UnreadableError`."""
        import yaml

        parts = sum(text.count(sign) for sign in (*_BREAKS, ",")) - text.count("\r\n")
        if parts > self.most_parts:
            raise UnreadableError(f"at most {self.most_parts:,} lines and commas", f"{parts:,}", "", "Split it.")
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except RecursionError:
            raise UnreadableError(f"at most {self.deepest} lists and mappings in one another", "more") from None
        except (yaml.YAMLError, ValueError) as problem:
            raise _of_yaml("YAML", problem) from None
        if root is not None:
            self._refuse_wild(root)
        return root

    def csv(self, path: str | Path) -> list[dict[str, str]]:
        """The rows of a CSV file by the names in its first line, each row as long as that line."""
        with self._told(path):
            reader = csv.DictReader(io.StringIO(_decoded(_bytes(path, self.largest)), newline=""))
            rows: list[dict[str, str]] = []
            try:
                if len(set(reader.fieldnames or ())) != len(reader.fieldnames or ()):
                    raise UnreadableError("columns with names of their own", "one name twice", "line 1")
                for row in reader:
                    if None in row or None in row.values():
                        expected = f"{len(reader.fieldnames or ())} columns, as the first line has"
                        raise UnreadableError(expected, "another number", f"line {reader.line_num}")
                    rows.append(row)
            except csv.Error as problem:
                raise UnreadableError("CSV", str(problem), f"line {reader.line_num}") from None
            return rows

    def refuse(self, source: str | Path, expected: str, found: str, remedy: str = "") -> ProbeError:
        """An error of this kind of file, for what its reader cannot know to be wrong."""
        thing = f"{self.name} {_shown(source)}".strip()
        return self.error(thing, expected=expected, found=found, remedy=remedy or self.remedy)

    # Within

    def _told(self, source: str | Path) -> _Told:
        return _Told(self, source)

    def _mapping(self, read: Any, source: str | Path, expected: str) -> dict[str, Any]:
        if not isinstance(read, dict):
            raise self.refuse(source, expected, type_name(read))
        return read

    def _json(self, text: str) -> Any:
        try:
            read = json.loads(
                text,
                object_pairs_hook=self._pairs,
                parse_int=_whole,
                parse_float=_finite_float if self.finite else None,
                parse_constant=_no_constant if self.finite else None,
            )
        except RecursionError:
            raise UnreadableError(f"at most {self.deepest} lists and mappings in one another", "more") from None
        except json.JSONDecodeError as problem:
            raise UnreadableError("JSON", problem.msg, f"line {problem.lineno}") from None
        self._refuse_deep(read, lone=bool(_LONE.search(text)))
        return read

    def _pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(pairs) > self.most_keys:
            raise UnreadableError(f"at most {self.most_keys:,} keys in one mapping", f"{len(pairs):,}")
        read = dict(pairs)
        if len(read) < len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))
            raise UnreadableError("each key once", f"{cut(repr(twice))} twice in one mapping")
        return read

    def _refuse_deep(self, read: Any, *, lone: bool) -> None:
        """Walk what was read, a level at a time. `lone`: strings may hold halves of a sign, which nothing can write."""
        level, count, depth = [read], 0, 0
        while level:
            depth += any(type(value) in (dict, list) for value in level)
            if depth > self.deepest:
                raise UnreadableError(f"at most {self.deepest} lists and mappings in one another", "more")
            count += len(level)
            if count > self.most_values:
                raise UnreadableError(f"at most {self.most_values:,} values", "more")
            if lone:
                _refuse_lone(level)
            level = [inner for value in level if type(value) in (dict, list) for inner in _inner(value, lone)]

    def _refuse_wild(self, root: yaml.Node) -> None:
        """Refuse a tree that aliases blow up or lead in circles, and values that are not plain."""
        import yaml

        stack, seen, checked = [(root, 0)], 0, set()
        while stack:
            node, depth = stack.pop()
            seen += 1
            if depth > self.deepest or seen > 10 * self.most_parts:
                found = "an alias that leads back to itself, or nesting without end"
                raise UnreadableError("plain YAML", found, "", "Write it out.")
            if id(node) not in checked:
                checked.add(id(node))
                _refuse_odd(node, self.finite)
            if isinstance(node, yaml.MappingNode):
                stack += [(part, depth + 1) for pair in node.value for part in pair]
            elif isinstance(node, yaml.SequenceNode):
                stack += [(part, depth + 1) for part in node.value]


TABLE = FileKind("table", finite=False, largest=1 << 30, most_values=50_000_000)  # pandas' rows, as JSON writes them


class _Told:
    """Turns what is wrong with a file into the error of its kind."""

    def __init__(self, kind: FileKind, source: str | Path):
        self.kind, self.source = kind, source

    def __enter__(self) -> None: ...

    def __exit__(self, _: Any, problem: BaseException | None, __: Any) -> None:
        if isinstance(problem, UnreadableError):
            where = f"{_shown(self.source)}, {problem.where}" if problem.where else self.source
            raise self.kind.refuse(where, problem.expected, problem.found, problem.remedy) from None


def is_file(path: str | Path) -> bool:
    """Whether there is a file; no where the path itself cannot be one."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder; no where the path itself cannot be one."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def is_there(path: str | Path) -> bool:
    """Whether there is anything; no where the path itself cannot be one."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def constructed(root: yaml.Node) -> Any:
    """The plain data of a tree that `composed` let through; raises `UnreadableError`."""
    import yaml

    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(root)
    except (yaml.YAMLError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as problem:
        raise _of_yaml("plain values", problem) from None
    finally:
        loader.dispose()


def told(problem: ValidationError, top: str) -> str:
    """What pydantic found wrong, in one line; `top` names the whole. At most twenty faults are told."""
    faults = problem.errors(include_url=False, include_input=False, include_context=False)
    words = [f"{cut('.'.join(map(str, one['loc'])), 80) or top}: {cut(one['msg'])}" for one in faults[:MOST_FAULTS]]
    more = len(faults) - MOST_FAULTS
    return "; ".join([*words, *([f"and {more:,} more faults"] if more > 0 else [])])


def cut(text: str, longest: int = LONGEST_SHOWN) -> str:
    """A text that fits into an error, and can be written anywhere."""
    text = text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= longest else text[: longest - 1] + "…"


def type_name(value: Any) -> str:
    """What kind of value stands there, in words of the file."""
    return {"dict": "a mapping", "list": "a list", "str": "a text", "NoneType": "nothing", "bool": "true or false"}.get(
        type(value).__name__, "a number"
    )


def _shown(source: str | Path) -> str:
    text = cut(str(source), 10_000)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:80]}…{text[80 - LONGEST_SHOWN :]}"


def _bytes(path: str | Path, largest: int) -> bytes:
    """What a file holds; a pipe or a device, which may never end, is none."""
    try:
        # Without O_NONBLOCK, opening a named pipe waits for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as problem:
        raise _of_path(problem) from None
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_size > largest:
        os.close(handle)
        if stat.S_ISREG(found.st_mode):
            raise UnreadableError(f"at most {largest:,} bytes", f"{found.st_size:,}")
        raise UnreadableError("a file", "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device")
    with os.fdopen(handle, "rb") as opened:
        try:
            return opened.read(largest)
        except OSError as problem:
            raise _of_path(problem) from None


def _of_path(problem: OSError | ValueError) -> UnreadableError:
    if isinstance(problem, FileNotFoundError):
        return UnreadableError("a file", "no such file", "", "Check the path.")
    words = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    return UnreadableError("a file that can be read", cut(words), "", "Check the path.")


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        found = f"the byte 0x{content[problem.start]:02x}"
        raise UnreadableError("UTF-8 text", found, f"line {line}", "Save it as UTF-8.") from None


def _whole(digits: str) -> int:
    if len(digits) > DIGITS:
        raise UnreadableError(f"whole numbers of at most {DIGITS} digits", f"one of {len(digits):,}")
    return int(digits)


def _finite_float(written: str) -> float:
    value = float(written)
    if math.isinf(value):
        raise UnreadableError("numbers that a computer can hold", cut(written, 40))
    return value


def _no_constant(name: str) -> float:
    raise UnreadableError("finite numbers", name)


def _inner(value: Any, keys: bool) -> list[Any]:
    if isinstance(value, list):
        return value
    return [*value.values(), *value] if keys else list(value.values())


def _refuse_lone(level: list[Any]) -> None:
    for value in level:
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                found = f"half a sign in {cut(repr(value), 60)}"
                raise UnreadableError("text that can be written as UTF-8", found) from None


def _of_yaml(expected: str, problem: Exception) -> UnreadableError:
    mark = getattr(problem, "problem_mark", None) or getattr(problem, "context_mark", None)
    words = getattr(problem, "problem", None) or " ".join(str(problem).split())
    return UnreadableError(expected, cut(words.removeprefix("found ")), f"line {mark.line + 1}" if mark else "")


def _refuse_odd(node: yaml.Node, finite: bool) -> None:
    """Refuse what is no plain value: dates, sets, bytes, numbers that no computer holds, halves of signs."""
    import yaml

    where = f"line {node.start_mark.line + 1}"
    if node.tag not in _PLAIN_TAGS:
        kind = node.tag.rpartition(":")[2]
        found = "a date" if kind == "timestamp" else f"a {cut(kind, 40)}"
        raise UnreadableError("plain values", found, where, "Put it in quotes if it is a text.")
    if isinstance(node, yaml.MappingNode):
        if not all(isinstance(key, yaml.ScalarNode) for key, _ in node.value):
            raise UnreadableError("keys that are words", "a list or a mapping as a key", where)
    elif isinstance(node, yaml.ScalarNode):
        _refuse_lone([node.value])
        _refuse_number(node.tag.rpartition(":")[2], node.value, finite, where)


def _refuse_number(kind: str, written: str, finite: bool, where: str) -> None:
    if kind == "int" and len(written) > DIGITS:
        raise UnreadableError(f"whole numbers of at most {DIGITS} digits", f"one of {len(written):,}", where)
    if kind == "float" and finite:
        try:
            whole = math.isfinite(float(written.replace("_", "")))
        except ValueError:  # .inf and .nan, and times such as 1:30.5
            whole = ":" in written
        if not whole:
            raise UnreadableError("finite numbers", cut(written, 40), where)


def _refuse_twice(node: yaml.Node) -> None:
    """Refuse keys that stand in one mapping twice, of which YAML would silently take the last."""
    import yaml

    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_twice(item)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line, name = key.start_mark.line + 1, str(key.value)
        if name in seen:
            words = f"{cut(repr(name), 60)}, which stands in line {seen[name]} already"
            raise UnreadableError("each key once", words, f"line {line}", "Keep one of them.")
        seen[name] = line
        _refuse_twice(value)
