"""The content of a report as values: sections, figures, numbers, and the grid of results.

The HTML page and the Markdown text are made from the same contents, so they cannot contradict each other. A result that
cannot be read is listed with its error, and the rest of the report is written anyway. A section is one measure: its
small multiples, which the page shows first, and a block for each unit, to be opened.
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
from probe.jobs.report.models import names_of
from probe.jobs.report.multiples import Measured, Multiples, Panel, headline_of, multiples, same_question
from probe.jobs.report.prompts import Prompt, prompts
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

PRIMARY = "prefix"  # the reading that others are compared with
MOST_ROWS = 20  # of one table in the report; all of them are in its parquet file


@dataclass(frozen=True)
class Row:
    """One estimate: its labels, the number as text, and its null."""

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
    finding: str  # the measure's own sentence about its finding, if there is one
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
    """One measure: its blocks, and a caption if the same one serves all of them."""

    anchor: str
    heading: str
    caption: str
    blocks: tuple[Block, ...]
    multiples: Multiples | None = None
    asked: bool = True  # named in the spec; else another measure needed it
    verdict: bool = False  # whether it is the hypotheses' answers, which have a table of their own

    @property
    def tally(self) -> Tally:
        return total(block.tally for block in self.blocks)


@dataclass(frozen=True)
class Cell:
    """One unit in the grid of results: its main number with the interval."""

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
    """The content of a report."""

    run: RunFolder
    sections: tuple[Section, ...]
    failures: tuple[Failure, ...]
    tasks: tuple[str, ...]
    grid: tuple[Line, ...]
    verdict: Verdict
    prompts: tuple[Prompt, ...] = ()

    @property
    def blocks(self) -> Iterator[Block]:
        return (block for section in self.sections for block in section.blocks)

    @property
    def tally(self) -> Tally:
        return total(block.tally for block in self.blocks)


def contents(run: RunFolder) -> Contents:
    """Read the content of a report from a run folder."""
    blocks: list[Block] = []
    measured: dict[str, Measured] = {}
    answering: list[tuple[str, str, pd.DataFrame, Mapping[str, Any]]] = []
    shown: list[Prompt] = []
    failures = [_failure(unit) for unit in run.failed]
    for unit in sorted(run.done, key=_place(run.units)):
        try:
            saved = run.saved(unit)
            judged = judge(saved.estimates)
            block = _block(run, unit, saved, judged, number=len(blocks) + 1)
        except ProbeError as problem:
            failures.append(_failure(replace(unit, error={"kind": type(problem).__name__, "message": str(problem)})))
            continue
        blocks.append(block)
        measured[block.anchor] = _measured(run, block, saved, judged)
        shown += prompts(saved.about.get("example"), saved.estimates, unit)
        if answers_hypotheses(saved.table):
            answering.append((block.place, block.anchor, saved.table, saved.about.get("beside", {})))
    tasks = tuple(sorted(dict.fromkeys(block.unit.task for block in blocks), key=lambda task: not task))
    sections = _sections(run, blocks, measured)
    return Contents(run, sections, tuple(failures), tasks, _grid(sections, tasks), verdict(answering), tuple(shown))


def _measured(run: RunFolder, block: Block, saved: Saved, judged: pd.DataFrame) -> Measured:
    """The data of a unit's panel."""
    unit = block.unit
    several = len({other.reading for other in run.measures if other.measure == unit.measure}) > 1
    parts = (unit.pair, unit.reading if several else "", f"seed {unit.seed}" if run.has_seeds else "")
    nothing = saved.about.get("nothing")
    empty = f"does not apply: {nothing}" if isinstance(nothing, str) and nothing else ""
    line = " · ".join(filter(None, parts))
    return Measured(block.anchor, line, unit.task, judged, names_of(run, unit.pair), empty)


def _place(units: Iterable[Entry]) -> Callable[[Entry], tuple]:
    """Units grouped by measure, in the order in which the run first names measures, tasks and pairs."""
    kinds = ("measure", "task", "pair")
    orders = {kind: list(dict.fromkeys(getattr(unit, kind) for unit in units)) for kind in kinds}

    def key(unit: Entry) -> tuple:
        places = (orders[kind].index(getattr(unit, kind)) for kind in kinds)
        return (*places, unit.reading != PRIMARY, unit.reading, unit.seed or 0)

    return key


def _block(run: RunFolder, unit: Entry, saved: Saved, judged: pd.DataFrame, number: int) -> Block:
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
    """The label columns: those with the same value in all rows, and those that distinguish them."""
    names = [str(column) for column in judged.columns if column not in STATISTICS]
    common = [name for name in names if len(judged) > 1 and len(set(judged[name].astype(str))) == 1]
    return common, [name for name in names if name not in common]


def _telling(judged: pd.DataFrame) -> pd.DataFrame:
    """The rows shown: all of a short table; of a long one, those furthest from their null."""
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


def _sections(run: RunFolder, blocks: Iterable[Block], measured: Mapping[str, Measured]) -> tuple[Section, ...]:
    by_measure: dict[str, list[Block]] = {}
    for block in blocks:
        by_measure.setdefault(block.unit.measure, []).append(block)
    asked = _asked(run)
    order = {name: turn for turn, name in enumerate(asked)}
    named = sorted(by_measure, key=lambda measure: order.get(measure.partition("(")[0], len(order)))
    return tuple(_section(measure, by_measure[measure], measured, asked) for measure in named)


def _asked(run: RunFolder) -> list[str]:
    """The measures that the spec names, in its order; the run has others that these need."""
    named = run.spec.get("measures")
    measures = named if isinstance(named, list) else []
    return [str(one.get("measure") if isinstance(one, dict) else one).partition("(")[0] for one in measures]


def _section(measure: str, blocks: list[Block], measured: Mapping[str, Measured], asked: list[str]) -> Section:
    captions = {block.caption for block in blocks}
    caption = captions.pop() if len(captions) == 1 else ""
    own = tuple(replace(block, caption="") if caption else block for block in blocks)
    verdicts = all(answers_hypotheses(measured[block.anchor].judged) for block in blocks)
    glance = None if verdicts else multiples(headline_of(measure), _news([measured[block.anchor] for block in blocks]))
    name = measure.partition("(")[0]
    heading = formatting.heading(measure)
    return Section(anchor(f"measure-{measure}"), heading, caption, own, glance, not asked or name in asked, verdicts)


def _news(units: list[Measured]) -> list[Measured]:
    """The units, with a note on those whose reading repeats another's question."""
    found: list[Measured] = []
    for unit in units:
        pair = unit.line.partition(" · ")[0]
        before = (one for one in found if one.task == unit.task and one.line.partition(" · ")[0] == pair)
        same = next((one for one in before if not one.empty and same_question(one, unit)), None)
        words = f"does not apply: the same question as {same.line.partition(' · ')[2]}" if same else unit.empty
        found.append(replace(unit, empty=words))
    return found


def _grid(sections: Iterable[Section], tasks: tuple[str, ...]) -> tuple[Line, ...]:
    lines: dict[tuple[str, str, str], dict[str, list[Cell]]] = {}
    for section in sections:
        glance = section.multiples
        panels = {panel.anchor: panel for line in glance.lines for panel in line.panels} if glance else {}
        for block in section.blocks:
            unit = block.unit
            line = lines.setdefault((formatting.heading(unit.measure), unit.pair, unit.reading), {})
            line.setdefault(unit.task, []).append(_cell(block, panels.get(block.anchor)))
    return tuple(Line(*key, tuple(tuple(line.get(task, ())) for task in tasks)) for key, line in lines.items())


def _cell(block: Block, panel: Panel | None) -> Cell:
    found, seed = block.tally, block.unit.seed
    text = "" if panel is None else panel.text or panel.empty
    if not found.judged:
        return Cell(block.anchor, text or "described", None, seed)
    counts = {ABOVE: found.above, BELOW: found.below, SAME: found.same, WITHIN: found.within}
    alike = next((mark for mark, count in counts.items() if count == found.judged), None)
    if found.judged == 1:
        return Cell(block.anchor, next(row.value for row in block.rows if row.significance), alike, seed)
    significance = alike or ("mixed" if found.differ else WITHIN)
    return Cell(block.anchor, text or f"{found.differ} of {found.judged}", significance, seed)


def _failure(unit: Entry) -> Failure:
    error = unit.error or {}
    kind = str(error.get("kind") or ("Not run" if unit.status == "missing" else unit.status))
    message = str(error.get("message") or "The run ended before this unit was reached.")
    command = unit.command or ""
    traceback = str(error.get("traceback") or "")
    return Failure(anchor(f"failed-{unit.id}"), unit, unit.described(), kind, message, traceback, command)


def _command(run: RunFolder, unit: Entry) -> str:
    """The command that computes a unit's numbers again."""
    return unit.command or f"twinprobe run {shlex.quote(str(run.folder / 'spec.yaml'))} --only {shlex.quote(unit.id)}"


def total(tallies: Iterable[Tally]) -> Tally:
    found = list(tallies)
    names = ("rows", "above", "below", "within", "same")
    return Tally(*(sum(getattr(each, name) for each in found) for name in names))


def anchor(name: str) -> str:
    """A name as the target of a link."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
