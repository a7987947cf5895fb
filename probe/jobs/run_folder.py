"""Opening a run folder: a job's files, for the report, the comparison, the app and notebooks.

They need the spec (`spec.yaml`), each unit's outcome and provenance (`manifest.json`), and each unit's table
(`results/*.parquet`) and figure (`figures/*.json`). All of them read these through this module:

    run = open_run("runs/demo")
    for unit in run.done:
        saved = run.saved(unit)           # the table, its title and its caption
        print(saved.title, len(saved.table))

A folder may come from another machine, another version or another person, so nothing in it is trusted. Paths that lead
out of it are refused, an unreadable file raises a `RunError` that names it, and every text is escaped where it is
shown. A unit needs only `id` and `status`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.errors import ProbeError
from probe.jobs.atomic import write_atomically
from probe.outside_files import FileKind, cut, is_file, is_folder, is_there

if TYPE_CHECKING:
    import pandas as pd

SPEC, MANIFEST = "spec.yaml", "manifest.json"
REPORT = ("report.html", "report.md", "report.parquet")
_WORDS = b"twinprobe"  # the key of a result's title and caption in the metadata of its parquet file


FETCHING = {"image", "scattermapbox", "choroplethmapbox", "densitymapbox", "scattermap", "choroplethmap", "densitymap",
            "scattergeo", "choropleth"}  # fmt: skip


class RunError(ProbeError):
    """A run folder, or a file in it, that cannot be read."""


_REMEDY = "`twinprobe verify` says which files are intact; the same `twinprobe run` again makes the others."
# Our own writers put NaN for missing estimates.
FILE = FileKind("", RunError, _REMEDY, largest=256_000_000, most_keys=200_000, finite=False)
FIGURE, SPEC_FILE = replace(FILE, largest=64_000_000), replace(FILE, largest=1 << 20)


@dataclass(frozen=True)
class Saved:
    """A result on disk: its table, title, caption and drawing."""

    name: str
    title: str
    caption: str
    drawing: str
    about: dict[str, Any]
    table: pd.DataFrame

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """The table with one row per estimate, converted from one column per measure if necessary."""
        return one_row_an_estimate(self.table)


@dataclass(frozen=True)
class Entry:
    """One unit in the manifest: its question and pair, its outcome, and how to compute it again."""

    id: str
    status: str
    kind: str = "measure"
    pair: str = ""
    task: str = ""
    reading: str = ""
    measure: str = ""
    seed: int | None = None
    result: str | None = None
    figure: str | None = None
    command: str | None = None
    error: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    record: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)  # its whole entry in the manifest

    def described(self, *, seed: bool = True) -> str:
        """The question and the pair in one line; the seed only if it distinguishes units."""
        parts = [self.pair, self.task, self.reading, f"seed {self.seed}" if seed and self.seed is not None else ""]
        return " · ".join(part for part in parts if part) or self.id


@dataclass(frozen=True)
class RunFolder:
    """A run folder with a readable manifest."""

    folder: Path
    spec: dict[str, Any]
    manifest: dict[str, Any]
    units: tuple[Entry, ...]

    @property
    def name(self) -> str:
        return str(self.manifest.get("name") or self.spec.get("name") or self.folder.name)

    @property
    def question(self) -> str:
        default = "What changes inside a language model when an autoregressive one becomes a diffusion one?"
        return str(self.manifest.get("question") or self.spec.get("question") or default)

    @cached_property
    def measures(self) -> tuple[Entry, ...]:
        """The units that answer a question, without those that only serve others."""
        return tuple(unit for unit in self.units if unit.kind == "measure" and unit.status != "skipped")

    @cached_property
    def done(self) -> tuple[Entry, ...]:
        return tuple(unit for unit in self.measures if unit.status == "done" and unit.result)

    @cached_property
    def failed(self) -> tuple[Entry, ...]:
        """What is missing in the run: units that failed, including shared ones, and measures that were never
        reached."""
        failed = {unit.id for unit in self.units if unit.status == "failed"}
        without = failed | ({unit.id for unit in self.measures} - {unit.id for unit in self.done})
        return tuple(unit for unit in self.units if unit.id in without)

    @cached_property
    def skipped(self) -> tuple[Entry, ...]:
        """Units that do not apply to their pair or task."""
        return tuple(unit for unit in self.units if unit.status == "skipped")

    @cached_property
    def has_seeds(self) -> bool:
        """Whether seeds distinguish units."""
        return len({unit.seed for unit in self.measures} - {None}) > 1

    def path(self, relative: str) -> Path:
        """A file that the manifest names; one outside of the folder is refused."""
        path = (self.folder / relative).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise RunError(
                str(self.folder / MANIFEST),
                expected="files inside the run folder",
                found=repr(relative),
                remedy="The manifest was changed by hand or comes from elsewhere: run the job again.",
            )
        return path

    def saved(self, unit: Entry) -> Saved:
        """A unit's result, read from its parquet file."""
        relative = unit.result or f"{unit.id} has no result"
        self._refuse_changed(relative)
        return read_result(self.path(relative))

    def figure(self, unit: Entry) -> dict[str, Any] | None:
        """A unit's figure as Plotly's JSON, if the run drew one."""
        if unit.figure is None or not self.path(unit.figure).is_file():
            return None
        self._refuse_changed(unit.figure)
        return checked_figure(self.path(unit.figure), FIGURE.object(self.path(unit.figure)))

    def changed(self, relative: str) -> str:
        """How a file differs from what the run wrote, according to the manifest; empty if it does not."""
        files = self.manifest.get("files")
        of = files.get(relative) if isinstance(files, dict) else None
        if not isinstance(of, dict):
            return "the manifest does not list it" if isinstance(files, dict) and _lists_shown(files) else ""
        try:
            found = hash_of(self.path(relative))
        except OSError as problem:
            return f"it cannot be read: {problem.strerror}"
        return "" if found == of.get("sha256") else "it is not what the run wrote"

    def _refuse_changed(self, relative: str) -> None:
        trouble = self.changed(relative)
        if trouble:
            raise RunError(
                str(self.folder / relative),
                expected="the file that the run wrote",
                found=trouble,
                remedy="The same `twinprobe run` again rewrites it.",
            )

    def note_files(self, written: dict[str, dict[str, Any]]) -> None:
        """Add what was just written to the files that the manifest lists."""
        files = self.manifest.get("files")
        manifest = {**self.manifest, "files": {**(files if isinstance(files, dict) else {}), **written}}
        write_atomically(self.folder / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False, default=str))


def _lists_shown(files: dict[str, Any]) -> bool:
    """Whether a manifest lists its units' shown files, which earlier versions' do not."""
    return any(str(name).partition("/")[0] in ("results", "figures", "traces") for name in files)


def open_run(folder: str | Path) -> RunFolder:
    """Open a run folder for reading."""
    folder = Path(folder)
    manifest_at = folder / MANIFEST
    if not is_file(manifest_at):
        found = "a folder without one" if is_folder(folder) else "no such folder" if not is_there(folder) else "a file"
        raise RunError(
            str(folder),
            expected=f"a run folder, which has a {MANIFEST}",
            found=found,
            remedy="Use the folder that `twinprobe run` or `twinprobe demo` printed at its end.",
        )
    manifest = FILE.object(manifest_at)
    entries = manifest.get("units", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "id" in entry for entry in entries):
        raise RunError(
            str(manifest_at),
            expected="a list of units, each with its id",
            found=f"{type(entries).__name__} {str(entries)[:60]!r}",
            remedy="Run the same job again: it rewrites the manifest and keeps finished units.",
        )
    return RunFolder(folder, _read_spec(folder / SPEC), manifest, tuple(map(_entry, entries)))


def nearby(place: Path, *, deepest: int = 3) -> list[Path]:
    """The run folders at a place and below it, newest first."""
    levels = ["/".join(["*"] * depth + [MANIFEST]) for depth in range(deepest + 1)]
    manifests = {found for level in levels for found in place.glob(level) if found.is_file()}
    return [found.parent for found in sorted(manifests, key=lambda found: -found.stat().st_mtime)]


def one_row_an_estimate(table: pd.DataFrame) -> pd.DataFrame:
    """Turn columns `sink, sink_low, sink_high, sink_p` into rows of a measure called sink."""
    import pandas as pd

    measures = [name for name in table.columns if {f"{name}_low", f"{name}_high"} <= set(table.columns)]
    if "estimate" in table or not measures:
        return table
    sides = ("low", "high", "p", "q", "null", "null_low", "null_high")
    turned = {name: {side: f"{name}_{side}" for side in sides if f"{name}_{side}" in table} for name in measures}
    used = {*measures, *(column for columns in turned.values() for column in columns.values())}
    labels = table[[column for column in table.columns if column not in used]]
    parts = [
        labels.assign(measure=name, estimate=table[name], **{side: table[column] for side, column in columns.items()})
        for name, columns in turned.items()
    ]
    return pd.concat(parts, ignore_index=True)


def read_result(path: Path) -> Saved:
    """A table with its title and caption, from one parquet file."""
    import pyarrow.parquet as parquet

    try:
        stored = parquet.read_table(path)
    except (OSError, ValueError) as problem:  # pyarrow's own errors are kinds of these
        raise _unreadable(path, "a parquet file", problem) from problem
    try:
        words = FILE.object_of((stored.schema.metadata or {}).get(_WORDS, b"{}"), path)
    except ProbeError as problem:
        raise _unreadable(path, "a table with its title and caption as JSON", problem.found) from None
    texts = {key: str(words.get(key, "")) for key in ("title", "drawing")}
    return Saved(
        str(words.get("name", path.stem)),
        caption=str(words.get("caption", words.get("reads", ""))),
        **texts,
        about=words["about"] if isinstance(words.get("about"), dict) else {},
        table=stored.to_pandas(),
    )


def left_out(figure: dict[str, Any]) -> str:
    """The rows of its table that a saved figure does not show, in one sentence (see `analyses.plots.left_out`), or
    nothing."""
    meta = (figure.get("layout") or {}).get("meta")
    parts = meta.get("left_out") if isinstance(meta, dict) else None
    return f"Not drawn, but in the table: {'; '.join(map(str, parts))}." if isinstance(parts, list) and parts else ""


def hash_of(path: Path) -> str:
    """The SHA-256 of a file, or of all files of a folder with their names."""
    if path.is_file():
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    found = hashlib.sha256()
    for file in sorted(inner for inner in path.rglob("*") if inner.is_file()):
        found.update(f"{file.relative_to(path).as_posix()} {hash_of(file)}\n".encode())
    return found.hexdigest()


def checked_figure(path: Path, figure: dict[str, Any]) -> dict[str, Any]:
    """A figure with nothing that a browser would fetch from elsewhere."""
    data, layout = figure.get("data", []), figure.get("layout", {})
    if not isinstance(data, list) or not isinstance(layout, dict) or not all(isinstance(one, dict) for one in data):
        raise _unreadable(path, "a figure: a list `data` and a mapping `layout`", "another form")
    kinds = {str(one.get("type", "scatter")) for one in data}
    if kinds & FETCHING or "images" in layout or any(name in layout for name in ("mapbox", "map", "geo")):
        raise _unreadable(
            path, "a figure without images or maps, which would be fetched from elsewhere", "one of these"
        )
    return figure


def _read_spec(path: Path) -> dict[str, Any]:
    spec = SPEC_FILE.yaml(path) if is_file(path) else {}
    return spec if isinstance(spec, dict) else {}


def _entry(entry: dict[str, Any]) -> Entry:
    text: dict[str, Any] = {key: str(entry.get(key) or "") for key in ("pair", "task", "reading", "measure")}
    maybe = {key: str(entry[key]) for key in ("result", "figure", "command") if entry.get(key)}
    return Entry(
        id=str(entry["id"]),
        status=str(entry.get("status") or "missing"),
        kind=str(entry.get("kind") or "measure"),
        seed=entry["seed"] if type(entry.get("seed")) is int else None,
        error=entry["error"] if isinstance(entry.get("error"), dict) else None,
        notes=tuple(map(str, entry["notes"])) if isinstance(entry.get("notes"), list) else (),
        record=entry,
        **text,
        **maybe,
    )


def _unreadable(path: Path, expected: str, problem: object) -> RunError:
    return RunError(str(path), expected=expected, found=cut(" ".join(str(problem).split())), remedy=_REMEDY)
