"""The verdict in a report: the hypotheses that a run was made to test, each with its answer for every pair.

A measure may answer hypotheses. Its table then has one hypothesis a row: the `statement`, who made it, the figure that
decides it (written down before anything was measured), the estimate, and the `answer`. `analyses.hypotheses.decision`
makes such tables. Several pairs answer the same hypotheses, so the report shows a row for each hypothesis and a column
for each pair. Where a control shows the same effect, the answer names it in `explained_by`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from probe.jobs.report import formatting

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {"statement", "answer"}
FORMER = {"claim": "statement", "verdict": "answer"}  # what these columns were called until 0.1
ANSWERS = ("supported", "contradicted", "undecided", "not measured")


@dataclass(frozen=True)
class Answer:
    """What one table says of one hypothesis."""

    answer: str
    value: str
    explained_by: str
    anchor: str


@dataclass(frozen=True)
class HypothesisRow:
    """A hypothesis, who made it, the figure that decides it, and an answer from each table that has one."""

    statement: str
    source: str
    written: str
    rival: bool
    answers: tuple[Answer | None, ...]


@dataclass(frozen=True)
class Verdict:
    """All hypotheses with their answers; `columns` names what each column of answers is about."""

    columns: tuple[str, ...] = ()
    rows: tuple[HypothesisRow, ...] = ()

    @property
    def sentences(self) -> list[str]:
        """How many hypotheses got which answer, one sentence a column. Rival hypotheses are not counted."""
        found = []
        for number, column in enumerate(self.columns):
            answers = [row.answers[number] for row in self.rows if not row.rival]
            counts = Counter(answer.answer for answer in answers if answer)
            parts = [f"{counts.pop(answer)} {answer}" for answer in ANSWERS if answer in counts]
            parts += [f"{count} {answer}" for answer, count in counts.items()]
            total = sum(answer is not None for answer in answers)
            found.append(f"{column}: of {total} hypotheses, {', '.join(parts)}.")
        return found


def answers_hypotheses(table: pd.DataFrame) -> bool:
    return set(_renamed(table).columns) >= COLUMNS


def verdict(tables: Iterable[tuple[str, str, pd.DataFrame]]) -> Verdict:
    """The hypotheses of some tables, each table with the name of its column and the anchor that its answers link to."""
    found = [(column, anchor, _renamed(table).to_dict("records")) for column, anchor, table in tables]
    first = {str(row["statement"]): row for _, _, rows in reversed(found) for row in rows}
    ordered = dict.fromkeys(str(row["statement"]) for _, _, rows in found for row in rows)
    answers = [{str(row["statement"]): _answer(row, anchor) for row in rows} for _, anchor, rows in found]
    rows = [_row(first[statement], tuple(column.get(statement) for column in answers)) for statement in ordered]
    return Verdict(tuple(column for column, _, _ in found), tuple(sorted(rows, key=lambda row: row.rival)))


def _renamed(table: pd.DataFrame) -> pd.DataFrame:
    return table if set(table.columns) >= COLUMNS else table.rename(columns=FORMER)


def _row(row: Mapping[str, Any], answers: tuple[Answer | None, ...]) -> HypothesisRow:
    text = (formatting.label(row.get(name, "")) for name in ("statement", "source", "written"))
    return HypothesisRow(*text, rival=bool(row.get("rival", False)), answers=answers)


def _answer(row: Mapping[str, Any], anchor: str) -> Answer:
    value = formatting.shown(row.get("estimate"), row.get("low"), row.get("high"))
    explained = row.get("explained_by")
    return Answer(str(row["answer"]), value, explained if isinstance(explained, str) else "", anchor)
