"""What a report says, as values: sections, figures, numbers, and the grid of results.

The HTML page and the Markdown text are made from the same contents, so neither can say what the other does not. A
result that cannot be read is listed with its error; the rest of the report is written all the same. A section is one
measure, and has a block for each unit of it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from probe.errors import ProbeError
from probe.jobs.report import formatting
from probe.jobs.report.hypotheses import Verdict, answers_hypotheses, verdict
from probe.jobs.report.significance import (
    ABOVE,
    BELOW,
    SAME,
    STATISTICS,
    WITHIN,
    Tally,
    judge,
    tally,
)
from probe.jobs.run_folder import Entry, RunFolder, Saved

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 20  # of one table in the report; all of them are in its parquet file


@dataclass(frozen=True)
class Row:
    """One estimate: what it is of, the number as it is written, and what it was held against."""

    labels: tuple[str, ...]
    value: str
    null: str
    p: str
    n: str
    significance: str | None


@dataclass(frozen=True)
class Block:
    """One unit: its figure, how to read it, and its numbers."""

    number: int
    anchor: str
    unit: Entry
    place: str
    title: str
    caption: str
    finding: str  # what the measure itself says of what it found, if it does
    tally: Tally
    common: str  # what all rows are of
    headings: tuple[str, ...]
    tested: str  # "q" where p-values are corrected for the table's many tests, else "p"
    rows: tuple[Row, ...]
    command: str

    @property
    def left_out(self) -> int:
        return self.tally.rows - len(self.rows)


@dataclass(frozen=True)
class Section:
    """One measure: its blocks, and how to read their figures where one sentence serves them all."""

    anchor: str
    heading: str
    caption: str
    blocks: tuple[Block, ...]

    @property
    def tally(self) -> Tally:
        return total(block.tally for block in self.blocks)


@dataclass(frozen=True)
class Cell:
    """One unit in the grid of results."""

    anchor: str
    text: str
    significance: str | None
    seed: int | None


@dataclass(frozen=True)
class Line:
    """One line of the grid: a measure on a pair under a reading, a tuple of cells for each task."""

    measure: str
    pair: str
    reading: str
    cells: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Failure:
    """A unit without a result, and why."""

    anchor: str
    unit: Entry
    place: str
    kind: str
    message: str
    traceback: str
    command: str


@dataclass(frozen=True)
class Contents:
    """All that a report says."""

    run: RunFolder
    sections: tuple[Section, ...]
    failures: tuple[Failure, ...]
    tasks: tuple[str, ...]
    grid: tuple[Line, ...]
    verdict: Verdict

    @property
    def blocks(self) -> Iterator[Block]:
        return (block for section in self.sections for block in section.blocks)

    @property
    def tally(self) -> Tally:
        return total(block.tally for block in self.blocks)


def contents(run: RunFolder) -> Contents:
    """Read off a run folder all that its report says."""
    blocks: list[Block] = []
    answering: list[tuple[str, str, pd.DataFrame]] = []
    failures = [_failure(unit) for unit in run.failed]
    for unit in sorted(run.done, key=_place(run.units)):
        try:
            saved = run.saved(unit)
            blocks.append(_block(run, unit, saved, number=len(blocks) + 1))
            if answers_hypotheses(saved.table):
                answering.append((blocks[-1].place, blocks[-1].anchor, saved.table))
        except ProbeError as problem:
            failures.append(_failure(replace(unit, error={"kind": type(problem).__name__, "message": str(problem)})))
    tasks = tuple(sorted(dict.fromkeys(block.unit.task for block in blocks), key=lambda task: not task))
    return Contents(run, _sections(blocks), tuple(failures), tasks, _grid(blocks, tasks), verdict(answering))


def _place(units: Iterable[Entry]) -> Callable[[Entry], tuple]:
    """Units of one measure stand together, in the order in which the run first names measures, tasks and pairs."""
    kinds = ("measure", "task", "pair")
    orders = {kind: list(dict.fromkeys(getattr(unit, kind) for unit in units)) for kind in kinds}

    def key(unit: Entry) -> tuple:
        return (*(orders[kind].index(getattr(unit, kind)) for kind in kinds), unit.reading, unit.seed or 0)

    return key


def _block(run: RunFolder, unit: Entry, saved: Saved, number: int) -> Block:
    judged = judge(saved.estimates)
    common, labels = _labels(judged)
    return Block(
        number=number,
        anchor=anchor(f"figure-{number}-{unit.measure}"),
        unit=unit,
        place=unit.described(seed=run.has_seeds),
        title=_sentence(saved.title or formatting.heading(unit.measure)),
        caption=saved.caption,
        finding=str(saved.about.get("finding") or ""),
        tally=tally(judged),
        common=", ".join(
            f"{formatting.heading(name).lower()} {formatting.label(judged[name].iloc[0])}" for name in common
        ),
        headings=tuple(labels),
        tested="q" if _has(judged, "q") else "p",
        rows=tuple(_row(row, labels) for row in _telling(judged).to_dict("records")),
        command=_command(run, unit),
    )


def _sentence(title: str) -> str:
    return title if title.endswith((".", "?", "!")) else f"{title}."


def _labels(judged: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The columns that name the rows: those in which all rows are alike, and those that tell them apart."""
    names = [str(column) for column in judged.columns if column not in STATISTICS]
    common = [name for name in names if len(judged) > 1 and len(set(judged[name].astype(str))) == 1]
    return common, [name for name in names if name not in common]


def _telling(judged: pd.DataFrame) -> pd.DataFrame:
    """The rows that a report has room for: all of a short table, the furthest from their null of a long one."""
    import numpy as np

    if len(judged) <= MOST_ROWS:
        return judged
    held = judged["significance"].notna().to_numpy()
    if not held.any():
        return judged.head(MOST_ROWS)
    null = judged["null"].fillna(0).to_numpy() if "null" in judged else 0
    width = (judged["high"] - judged["low"]).clip(lower=1e-12).to_numpy()
    far = np.where(held, np.abs(judged["estimate"].to_numpy() - null) / width, -1)
    says = judged["significance"].isin((ABOVE, BELOW, SAME)).to_numpy()
    return judged.iloc[np.lexsort([-far, ~says])[: min(MOST_ROWS, held.sum())]]


def _has(judged: pd.DataFrame, name: str) -> bool:
    return name in judged and bool(judged[name].notna().to_numpy().any())


def _row(row: Mapping[str, Any], labels: Iterable[str]) -> Row:
    null = formatting.shown(row.get("null"), row.get("null_low"), row.get("null_high"))
    corrected = formatting.probability(row.get("q"))
    return Row(
        labels=tuple(formatting.label(row[name]) for name in labels),
        value=formatting.shown(row.get("estimate"), row.get("low"), row.get("high")),
        null=null,
        p=corrected if corrected != formatting.NOTHING else formatting.probability(row.get("p")),
        n=formatting.label(row.get("n")),
        significance=row["significance"] if isinstance(row["significance"], str) else None,
    )


def _sections(blocks: Iterable[Block]) -> tuple[Section, ...]:
    by_measure: dict[str, list[Block]] = {}
    for block in blocks:
        by_measure.setdefault(block.unit.measure, []).append(block)
    return tuple(_section(measure, found) for measure, found in by_measure.items())


def _section(measure: str, blocks: list[Block]) -> Section:
    captions = {block.caption for block in blocks}
    caption = captions.pop() if len(captions) == 1 else ""
    own = tuple(replace(block, caption="") if caption else block for block in blocks)
    return Section(anchor(f"measure-{measure}"), formatting.heading(measure), caption, own)


def _grid(blocks: Iterable[Block], tasks: tuple[str, ...]) -> tuple[Line, ...]:
    lines: dict[tuple[str, str, str], dict[str, list[Cell]]] = {}
    for block in blocks:
        unit = block.unit
        line = lines.setdefault((formatting.heading(unit.measure), unit.pair, unit.reading), {})
        line.setdefault(unit.task, []).append(_cell(block))
    return tuple(Line(*key, tuple(tuple(line.get(task, ())) for task in tasks)) for key, line in lines.items())


def _cell(block: Block) -> Cell:
    found, seed = block.tally, block.unit.seed
    if not found.judged:
        return Cell(block.anchor, "described", None, seed)
    counts = {ABOVE: found.above, BELOW: found.below, SAME: found.same, WITHIN: found.within}
    alike = next((mark for mark, count in counts.items() if count == found.judged), None)
    if found.judged == 1:
        return Cell(block.anchor, next(row.value for row in block.rows if row.significance), alike, seed)
    significance = alike or ("mixed" if found.differ else WITHIN)
    return Cell(block.anchor, f"{found.differ} of {found.judged}", significance, seed)


def _failure(unit: Entry) -> Failure:
    error = unit.error or {}
    kind = str(error.get("kind") or ("Not run" if unit.status == "missing" else unit.status))
    message = str(error.get("message") or "The run ended before this unit was reached.")
    command = unit.command or ""
    traceback = str(error.get("traceback") or "")
    return Failure(anchor(f"failed-{unit.id}"), unit, unit.described(), kind, message, traceback, command)


def _command(run: RunFolder, unit: Entry) -> str:
    """The command that gives a unit's numbers again."""
    return unit.command or f"twinprobe run {shlex.quote(str(run.folder / 'spec.yaml'))} --only {shlex.quote(unit.id)}"


def total(tallies: Iterable[Tally]) -> Tally:
    found = list(tallies)
    names = ("rows", "above", "below", "within", "same")
    return Tally(*(sum(getattr(each, name) for each in found) for name in names))


def anchor(name: str) -> str:
    """A name as the target of a link."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
