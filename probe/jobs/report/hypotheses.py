"""The verdict in a report: the hypotheses that a run was made to test, each with its answer for every pair.

A measure may answer hypotheses. Its table then has one hypothesis per row: the `statement`, its source, the quantity
that decides it and the smallest effect, the estimate, and the `answer`. `analyses.hypotheses.decision` makes such
tables, and gives each finding as part of a sentence (`says`). The report's first sentences combine these parts, naming
pairs with the same findings together. Each part follows from one answer by rule, and says if a control shows the same
effect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from probe.jobs.report import formatting
from probe.jobs.report.models import CPT, HUES, SEED, role_of

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {"statement", "answer"}
FORMER = {"claim": "statement", "verdict": "answer"}  # the columns' names until 0.1
ANSWERS = ("supported", "contradicted", "undecided", "not measured")
LEADING = ("circuit", "depth", "spread")
"""Topics whose findings make the first sentences, in this order."""
_CONTROLS = {"AR-CPT itself": CPT, "AR itself": "ar"}


@dataclass(frozen=True)
class Answer:
    """One table's answer to one hypothesis; `controls` are the same quantity of other models, by their hue."""

    answer: str
    value: str
    explained_by: str
    anchor: str
    says: str = ""
    how: str = ""
    note: str = ""
    estimate: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    controls: tuple[tuple[str, float], ...] = ()

    @property
    def measured(self) -> bool:
        return self.estimate == self.estimate

    @property
    def words(self) -> str:
        """The answer with its qualification."""
        how = f" ({self.how})" if self.how else f" ({self.note})" if self.note else ""
        return f"{self.answer}{how}"


@dataclass(frozen=True)
class HypothesisRow:
    """A hypothesis, its source, the quantity that decides it, and an answer from each table that has one."""

    statement: str
    source: str
    written: str
    rival: bool
    answers: tuple[Answer | None, ...]
    asks: str = ""
    reason: str = ""
    topic: str = ""
    yes: str = ""
    threshold: float = 0.0

    @property
    def scale(self) -> tuple[float, float]:
        """The range of all values drawn for it, over all pairs: the threshold and the controls too."""
        found = [answer for answer in self.answers if answer is not None and answer.measured]
        ends = [end for answer in found for end in (answer.low, answer.high, *(value for _, value in answer.controls))]
        known = [end for end in (*ends, self.threshold) if end == end]
        room = 0.05 * ((max(known) - min(known)) or 1.0)
        return min(known) - room, max(known) + room


@dataclass(frozen=True)
class Verdict:
    """All hypotheses with their answers; `columns` names the pair of each column of answers."""

    columns: tuple[str, ...] = ()
    rows: tuple[HypothesisRow, ...] = ()

    @property
    def sentences(self) -> list[str]:
        """The findings, one sentence per topic and group of pairs that share it; then what is undecided."""
        told = [sentence for topic in LEADING for sentence in self._of_topic(topic)]
        return [*told, *self._undecided()] if told else self.counts

    @property
    def counts(self) -> list[str]:
        """How many hypotheses got which answer, one sentence per column. Rival hypotheses are not counted."""
        found = []
        for number, column in enumerate(self.short_columns):
            answers = [row.answers[number] for row in self.rows if not row.rival]
            counts = Counter(answer.answer for answer in answers if answer)
            parts = [f"{counts.pop(answer)} {answer}" for answer in ANSWERS if answer in counts]
            parts += [f"{count} {answer}" for answer, count in counts.items()]
            total = sum(answer is not None for answer in answers)
            found.append(f"{column}: of {total} hypotheses, {', '.join(parts)}.")
        return found

    @property
    def short_columns(self) -> tuple[str, ...]:
        """The columns by their pairs only, if that distinguishes them."""
        short = tuple(column.partition(" · ")[0] for column in self.columns)
        return short if len(set(short)) == len(short) else self.columns

    def _of_topic(self, topic: str) -> list[str]:
        by_words: dict[tuple[str, ...], list[str]] = {}
        for number, column in enumerate(self.short_columns):
            answers = [row.answers[number] for row in self.rows if row.topic == topic]
            said = tuple(answer.says for answer in answers if answer is not None and answer.says)
            if said:
                by_words.setdefault(said, []).append(column)
        return [f"In {self._pairs(columns)}, {clauses(said)}." for said, columns in by_words.items()]

    def _pairs(self, columns: Sequence[str]) -> str:
        return f"all {len(columns)} pairs" if len(columns) == len(self.columns) > 2 else listed(columns)

    def _undecided(self) -> list[str]:
        """One sentence for everything undecided in the leading topics."""
        left = []
        for row in (row for row in self.rows if row.topic in LEADING and row.yes):
            columns = [
                column
                for column, answer in zip(self.short_columns, row.answers, strict=True)
                if answer is not None and answer.answer == "undecided"
            ]
            if columns:
                left.append(f"whether {row.yes} ({', '.join(columns)})")
        return [f"Undecided: {'; '.join(left)}."] if left else []


def listed(words: Sequence[str]) -> str:
    """A list as part of a sentence."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def clauses(sentences: Sequence[str]) -> str:
    """Several statements as one sentence: a comma parts them, since each has an "and" of its own."""
    return ", and ".join(sentences)


def answers_hypotheses(table: pd.DataFrame) -> bool:
    return set(_renamed(table).columns) >= COLUMNS


def verdict(tables: Iterable[tuple[str, str, pd.DataFrame, Mapping[str, Any]]]) -> Verdict:
    """The hypotheses of some tables, each with the name of its column, the anchor that its answers link to, and the
    controls' values for each hypothesis."""
    found = [
        (column, anchor, _renamed(table).to_dict("records"), beside if isinstance(beside, Mapping) else {})
        for column, anchor, table, beside in tables
    ]
    first = {str(row["statement"]): row for _, _, rows, _ in reversed(found) for row in rows}
    ordered = dict.fromkeys(str(row["statement"]) for _, _, rows, _ in found for row in rows)
    answers = [
        {str(row["statement"]): _answer(row, anchor, beside.get(str(row.get("hypothesis")))) for row in rows}
        for _, anchor, rows, beside in found
    ]
    rows = [_row(first[statement], tuple(column.get(statement) for column in answers)) for statement in ordered]
    return Verdict(tuple(column for column, *_ in found), tuple(sorted(rows, key=lambda row: row.rival)))


def _renamed(table: pd.DataFrame) -> pd.DataFrame:
    return table if set(table.columns) >= COLUMNS else table.rename(columns=FORMER)


def _row(row: Mapping[str, Any], answers: tuple[Answer | None, ...]) -> HypothesisRow:
    text = (formatting.label(row.get(name, "")) for name in ("statement", "source", "written"))
    more = {name: _text(row.get(name)) for name in ("asks", "reason", "topic", "yes")}
    threshold = formatting.as_float(row.get("null"))
    threshold = 0.0 if threshold != threshold else threshold
    return HypothesisRow(*text, rival=bool(row.get("rival", False)), answers=answers, threshold=threshold, **more)


def _answer(row: Mapping[str, Any], anchor: str, beside: Any) -> Answer:
    estimate, low, high = (formatting.as_float(row.get(name)) for name in ("estimate", "low", "high"))
    more = {name: _text(row.get(name)) for name in ("says", "how", "note")}
    return Answer(
        str(row["answer"]),
        formatting.shown(estimate, low, high),
        _text(row.get("explained_by")),
        anchor,
        estimate=estimate,
        low=low,
        high=high,
        controls=_controls(beside),
        **more,
    )


def _controls(beside: Any) -> tuple[tuple[str, float], ...]:
    """The same quantity of AR-CPT, of a second seed, and of the AR model itself, by their hues."""
    found = []
    for name, numbers in beside.items() if isinstance(beside, Mapping) else ():
        role = _CONTROLS.get(str(name)) or role_of(str(name), {})
        if role in (CPT, SEED, "ar") and isinstance(numbers, list) and numbers:
            found.append((HUES[role], formatting.as_float(numbers[0])))
    return tuple((hue, value) for hue, value in found if value == value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
