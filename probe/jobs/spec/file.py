"""Reading a spec from a file, with the line of every error.

YAML gives plain data and pydantic says which part of that data is at fault, but without its line. So the file is first
composed into YAML's node tree, where every key and value has a line. A fault's place in the data is then followed down
that tree, which gives the line, and all faults of a file are reported together:

    error spec.yaml
    line 4, measures.1   expected one of attention, front_loading, lens; found 'front_lodaing'. Did you mean …?

`key=value` overrides (`--set budget.examples=64`, `--set tasks=[ioi]`, `--set pairs.0=zoo:block`) are put into the
data before it is checked; a fault in one of them names the override instead of a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from probe.errors import ProbeError, nearest
from probe.jobs.spec.model import (
    Budget,
    MeasureSpec,
    PairSpec,
    ReadingSpec,
    Spec,
    TaskSpec,
)
from probe.jobs.spec.shipped import means_shipped, shipped, text_of
from probe.outside_files import FileKind, UnreadableError, constructed, cut, is_folder

Place = tuple[str | int, ...]
FILE = FileKind("spec", largest=1 << 20, deepest=40)  # it is written by hand
MOST_FAULTS = 20  # that are told at once


@dataclass(frozen=True)
class Fault:
    """One fault of a spec, with its place."""

    where: str
    expected: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}; found {self.found}. {self.remedy}".rstrip()


class SpecError(ProbeError):
    """A spec with faults, all of them listed."""

    def __init__(self, source: str, faults: Sequence[Fault]):
        self.source, self.faults = source, tuple(faults)
        if len(faults) == 1:
            (one,) = faults
            super().__init__(
                f"{source}, {one.where}", expected=one.expected, found=one.found, remedy=one.remedy or "Mend that line."
            )
        else:
            super().__init__(
                f"{source}: {len(faults)} faults",
                expected="a spec like those of `twinprobe init`",
                found="\n".join(map(str, faults)),
                remedy="Mend these lines.",
            )

    def __reduce__(self):
        return type(self), (self.source, self.faults)


def read_spec(path: str | Path, overrides: Iterable[str] = ()) -> Spec:
    """A spec from a file, from the run folder that it made, or by a shipped spec's name; with `key=value` overrides."""
    if means_shipped(path):
        return parse_spec(text_of(str(path)), f"the shipped spec {path}", overrides)
    file = Path(path) / "spec.yaml" if is_folder(path) else Path(path)
    return parse_spec(_text(file), str(file), overrides)


def parse_spec(text: str, source: str = "spec", overrides: Iterable[str] = ()) -> Spec:
    """A spec from its text."""
    root = _composed(text, source)
    faults = list(_twice(root)) if root is not None else []
    if faults:
        raise SpecError(source, faults)
    data = _data(root, source)
    said: dict[Place, str] = {}
    for override in overrides:
        said[_override(data, override)] = override
    try:
        return Spec.model_validate(data)
    except ValidationError as problem:
        errors = _first(problem.errors(include_url=False))
        found = {str(fault): fault for fault in (_fault(error, root, said) for error in errors[:MOST_FAULTS])}
        more = len(errors) - MOST_FAULTS
        rest = [Fault("further on", "no more", f"{more:,} more faults", "Mend these first.")] if more > 0 else []
        raise SpecError(source, [*found.values(), *rest]) from None


def as_yaml(spec: Spec) -> str:
    """A spec as text, with all defaults filled in."""
    data = spec.model_dump(mode="json")
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)


def schema() -> dict[str, Any]:
    """The JSON schema of a spec, with the installed names, for editors to complete and check."""
    from probe.jobs.stages.registry import measures, stages
    from probe.readings.registry import READINGS
    from probe.tasks import INSTALLED

    made = Spec.model_json_schema()
    named = {
        "TaskSpec": ("task", INSTALLED),
        "ReadingSpec": ("reading", READINGS),
        "MeasureSpec": ("measure", measures()),
    }
    for model, (key, names) in named.items():
        made["$defs"][model]["properties"][key]["examples"] = sorted(names)
    short = {"pairs": {}, "tasks": {"examples": sorted(INSTALLED)}}
    short |= {"readings": {"enum": sorted(READINGS)}, "measures": {"enum": sorted(stages())}}
    for key, bare in short.items():
        items = made["properties"][key]["items"]
        made["properties"][key]["items"] = {"anyOf": [{"type": "string", **bare}, items]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "A Twinprobe job"}


# The file


def _text(file: Path) -> str:
    try:
        return FILE.text(file)
    except ProbeError as problem:
        remedy = f"Check the path; `twinprobe init` writes a spec; some run by name: {', '.join(shipped())}."
        raise SpecError(cut(str(file)), [Fault("the file", "YAML text", problem.found, remedy)]) from None


def _composed(text: str, source: str) -> yaml.Node | None:
    try:
        return FILE.composed(text)
    except UnreadableError as problem:
        raise _unreadable(source, problem) from None


def _data(root: yaml.Node | None, source: str) -> dict[str, Any]:
    if not isinstance(root, yaml.MappingNode):
        found = "nothing" if root is None else "no mapping"
        fault = Fault("line 1", "keys such as pairs, tasks, measures", found, "`twinprobe init` writes a spec.")
        raise SpecError(source, [fault])
    try:
        return constructed(root)
    except UnreadableError as problem:
        raise _unreadable(source, problem) from None


def _unreadable(source: str, problem: UnreadableError) -> SpecError:
    where, remedy = problem.where or "the file", problem.remedy or "Mend that line."
    return SpecError(source, [Fault(where, problem.expected, problem.found, remedy)])


def _twice(node: yaml.Node, place: Place = ()) -> Iterable[Fault]:
    """Keys that occur twice in one mapping, of which YAML would silently take the last."""
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _twice(item, (*place, number))
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in seen:
            found = f"it is in line {seen[name]} already"
            yield Fault(f"line {line}, {_dotted((*place, name))}", "each key once", found, "Keep one of them.")
        seen[name] = line
        yield from _twice(value, (*place, name))


# Overrides


def _override(data: dict[str, Any], written: str) -> Place:
    """Put `key=value` into the data; returns its place."""
    path, equals, text = written.partition("=")
    keys = path.split(".")
    if not equals or not all(keys) or len(keys) > FILE.deepest:
        raise SpecError(
            f"--set {written}", [Fault("the option", "key=value", repr(written), "Such as budget.examples=64.")]
        )
    try:
        value = FILE.yaml_of(text, "")
    except ProbeError:
        value = text
    place: list[str | int] = []
    into: Any = data
    for depth, key in enumerate(keys):
        step: str | int = int(key) if isinstance(into, list) and key.isdecimal() and len(key) < 9 else key
        place.append(step)
        last = depth == len(keys) - 1
        try:
            if last:
                into[step] = value  # type: ignore[index]  # what does not fit raises
            elif isinstance(into, dict):
                into = into.setdefault(step, {})
            else:
                into = into[step]  # type: ignore[index]  # what does not fit raises
        except (TypeError, IndexError):
            found = f"{type(into).__name__} at {_dotted(tuple(place[:-1])) or 'the top'}"
            remedy = "Set the whole list: --set tasks=[ioi, countdown]."
            raise SpecError(f"--set {written}", [Fault(path, "a place in the spec", found, remedy)]) from None
    return tuple(place)


# Faults


_FIELDS: dict[str, tuple[type[BaseModel], str | None]] = {
    "pairs": (PairSpec, "pair"),
    "tasks": (TaskSpec, "task"),
    "readings": (ReadingSpec, "reading"),
    "measures": (MeasureSpec, "measure"),
    "budget": (Budget, None),
}


def _first(errors: list[Any]) -> list[Any]:
    """Without consequences of other faults: a list whose items are all at fault is also too short."""
    inner = {error["loc"][0] for error in errors if len(error["loc"]) > 1}
    return [error for error in errors if not (error["type"] == "too_short" and error["loc"][0] in inner)]


def _fault(error: Any, root: yaml.Node | None, said: Mapping[Place, str]) -> Fault:
    """A pydantic error as a fault: its line, what was expected, and the nearest valid name."""
    place = tuple(error["loc"])
    override = next((text for at, text in said.items() if place[: len(at)] == at), None)
    where = f"--set {override}" if override else f"line {_line(root, place)}"
    where += f", {_dotted(place)}" if place and not override else ""
    problem = error.get("ctx", {}).get("error")
    if isinstance(problem, ProbeError):
        return Fault(where, problem.expected, problem.found, problem.remedy)
    if error["type"] == "extra_forbidden":
        known = _known_keys(place)
        return Fault(where, "a key that a spec has", repr(place[-1]), nearest(str(place[-1]), known))
    if error["type"] == "missing":
        present = error["input"] if isinstance(error["input"], dict) else {}
        expected = f"the key {place[-1]!r}"
        return Fault(
            where, expected, ", ".join(map(str, present)) or "nothing", "`twinprobe init` writes a complete spec."
        )
    expected, found = _plainly(error["msg"]), _shown(error["input"])
    if error["type"] == "literal_error":
        names = [name.strip(" '") for name in error["ctx"]["expected"].replace(" or ", ", ").split(",")]
        return Fault(where, "one of " + ", ".join(names), found, nearest(str(error["input"]), names))
    return Fault(where, expected, found, "")


def _plainly(message: str) -> str:
    """What pydantic expected, in YAML's terms."""
    words = message.removeprefix("Value error, ").removeprefix("Input should be ")
    for of_python, of_yaml in _YAML.items():
        words = words.replace(of_python, of_yaml)
    return words[:1].lower() + words[1:]


_YAML = {
    "valid tuple": "list, such as [a, b]",
    "valid dictionary": "mapping, such as {a: 1}",
    "valid integer": "whole number",
}


def _known_keys(place: Place) -> list[str]:
    """The keys that could have stood at a place."""
    if len(place) == 1:
        return list(Spec.model_fields)
    model = _FIELDS.get(str(place[0]), (None, None))[0]
    return list(model.model_fields) if model else []


def _line(node: yaml.Node | None, place: Place) -> int:
    """The line of a place in the data, or of its nearest ancestor."""
    line = 1
    for step in place:
        found = _child(node, step)
        if found is None:
            break
        line, node = found
    return line


def _child(node: yaml.Node | None, step: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == str(step):
                return key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.line + 1, node.value[step]
    return None


def _dotted(place: Place) -> str:
    return ".".join(map(str, place))


def _shown(value: Any, longest: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"
