"""The claims that a run was made to test, and what it says of them: the first thing that a reader wants to know.

A measure may answer claims: its table then has a claim in each row, written down before anything was measured, with the
figure it is held against and an answer (`analyses.hypotheses.decision` makes such tables). Several pairs answer the
same claims, so they stand side by side: a row a claim, a column a pair. An answer that a control explains as well says
by which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from probe.jobs.report import formatting

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {"claim", "verdict"}
ANSWERS = ("supported", "contradicted", "undecided", "not measured")


@dataclass(frozen=True)
class Answer:
    """What one table says of one claim."""

    verdict: str
    value: str
    explained_by: str
    anchor: str


@dataclass(frozen=True)
class Claim:
    """A claim, who made it, the figure that decides it, and an answer from each table that has one."""

    claim: str
    source: str
    written: str
    rival: bool
    answers: tuple[Answer | None, ...]


@dataclass(frozen=True)
class Claims:
    """All claims; `asked` names the columns of answers."""

    asked: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()

    @property
    def sentences(self) -> list[str]:
        """How the claims came out, a sentence a column; rivals are not counted among them."""
        told = []
        for place, asked in enumerate(self.asked):
            answers = [claim.answers[place] for claim in self.claims if not claim.rival]
            counts = Counter(answer.verdict for answer in answers if answer)
            parts = [f"{counts.pop(answer)} {answer}" for answer in ANSWERS if answer in counts]
            parts += [f"{number} {answer}" for answer, number in counts.items()]
            total = sum(answer is not None for answer in answers)
            told.append(f"{asked}: of {total} claims, {', '.join(parts)}.")
        return told


def answers_claims(table: pd.DataFrame) -> bool:
    return set(table.columns) >= COLUMNS


def claims(tables: Iterable[tuple[str, str, pd.DataFrame]]) -> Claims:
    """The claims of tables, each with the name of its column and the anchor that its answers lead to."""
    found = [(asked, anchor, table.to_dict("records")) for asked, anchor, table in tables]
    rows = {str(row["claim"]): row for _, _, records in reversed(found) for row in records}
    ordered = dict.fromkeys(str(row["claim"]) for _, _, records in found for row in records)
    answered = [{str(row["claim"]): _answer(row, anchor) for row in records} for _, anchor, records in found]
    told = [_claim(rows[claim], tuple(column.get(claim) for column in answered)) for claim in ordered]
    return Claims(tuple(asked for asked, _, _ in found), tuple(sorted(told, key=lambda claim: claim.rival)))


def _claim(row: Mapping[str, Any], answers: tuple[Answer | None, ...]) -> Claim:
    text = (formatting.label(row.get(name, "")) for name in ("claim", "source", "written"))
    return Claim(*text, rival=bool(row.get("rival", False)), answers=answers)


def _answer(row: Mapping[str, Any], anchor: str) -> Answer:
    value = formatting.shown(row.get("estimate"), row.get("low"), row.get("high"))
    explained = row.get("explained_by")
    return Answer(str(row["verdict"]), value, explained if isinstance(explained, str) else "", anchor)
