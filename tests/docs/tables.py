"""The tables of README and docs that have their command beside them, held against what the command prints now.

    python -m tests.docs.tables                     # every table; takes long, and wants an idle machine
    python -m tests.docs.tables docs/writing.md     # those of a page

A table that was measured once is true on that day only. Each stands under a comment with its command, so it can be made
again:

    <!-- made by: python -m analyses.calibration --pairs 1000 -->

    | figure | nodes | used | rejects a null | covers the truth |

Here the command runs and each row that it prints must be a row of the page: the same words, and numbers within the
interval that the page gives, else within 5% or one unit of the last digit. Times, memory and rounding errors differ
from machine to machine: of those only the words are compared. What is not printed as such a row is listed in `BY_HAND`,
with the reason. `tests/docs/test_tables.py` does the same for the rows of `QUICK` in every run of the tests.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import PAGES, ROOT, named

# Further words of a command that make a few of its rows in seconds: enough to notice that a table is out of date.
QUICK = {
    "python -m analyses.calibration --pairs 1000": ("--figures", "sign flip", "mean difference (BCa)"),
}
# A number of the page, and why no row of a printed table can be held against it.
BY_HAND = {
    "tests/benchmarks/false_calls.py": "made by hand from what it prints",
    "after the line above": "a sentence that quotes several results",
    "arrives from the left": "a sentence that quotes several results",
    "--figures NAME": "its figures are named one by one",
    "twinprobe check": "a table in a frame, compared by tests/docs/test_pages.py",
}
_COMMENT = re.compile(r"<!-- made by[:,] *(.*?) *-->\n", re.DOTALL)
_NUMBER = re.compile(r"[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
_INTERVAL = re.compile(rf"\(({_NUMBER.pattern})%? to ({_NUMBER.pattern})%?[^)]*\)")
_OF_THE_MACHINE = re.compile(r"\d(?: ms| s| MB| GB| ×|$)|\d+e-\d+")
_TIMED = re.compile(r"time|second|memory|bare|bytes|ms\b|logits|states|attentions|sums|EAP-IG")
NEAR = 0.05

Row = dict[str, str]


@dataclass(frozen=True)
class Made:
    """A table of a page (empty if what stands below is none), and the command that makes it."""

    page: Path
    command: str
    rows: tuple[Row, ...]

    @property
    def by_hand(self) -> str | None:
        """Why it cannot be compared by itself, if so."""
        return next((why for part, why in BY_HAND.items() if part in self.command), None)


def made(page: Path) -> Iterator[Made]:
    """Every command of a page with the table under it."""
    text = page.read_text("utf-8")
    found = list(_COMMENT.finditer(text))
    for comment, following in zip(found, [*found, None][1:], strict=True):
        below = text[comment.end() : following.start() if following else len(text)]
        yield Made(page, " ".join(comment[1].split()), tuple(rows(re.split(r"^#", below, maxsplit=1, flags=re.M)[0])))


def rows(text: str) -> list[Row]:
    """The rows of all Markdown tables in a text, each cell under the head of its column."""
    found: list[Row] = []
    head: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            head = []
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not head:
            head = cells
        elif not set(line) <= set("|-: "):
            found.append(dict(zip(head, cells, strict=True)))
    return found


def astray(page: Iterable[Row], printed: Iterable[Row]) -> list[Row]:
    """The rows that a command printed and the page does not have."""
    there = list(page)
    return [row for row in printed if not any(same(row, other) for other in there)]


def same(printed: Row, page: Row) -> bool:
    """Whether a printed row is a page's row: its words, and its numbers as near as they can be."""
    if printed.keys() != page.keys():
        return False
    return all(
        _worded(printed[head]) == _worded(page[head]) and _near(head, printed[head], page[head]) for head in page
    )


def _worded(cell: str) -> str:
    return _NUMBER.sub("#", cell)


def _near(head: str, printed: str, page: str) -> bool:
    if _TIMED.search(head) and _OF_THE_MACHINE.search(page):
        return True
    interval = _INTERVAL.search(page)
    if interval:
        return value(interval[1]) <= value(_NUMBER.findall(printed)[0]) <= value(interval[2])
    pairs = zip(_NUMBER.findall(printed), _NUMBER.findall(page), strict=True)
    return all(abs(value(now) - value(then)) <= max(NEAR * abs(value(then)), unit(then)) for now, then in pairs)


def value(number: str) -> float:
    return float(number.replace("−", "-").replace(",", ""))


def unit(number: str) -> float:
    """One in the last digit that is written; a whole number is a name or a count, and exact."""
    decimals = number.partition(".")[2]
    return 1.001 * 10 ** -len(decimals) if decimals else 0.0


def printed_by(command: str, *more: str) -> list[Row]:
    """The rows that a command prints, in a process of its own."""
    _, *words = shlex.split(command)
    run = subprocess.run([sys.executable, *words, *more], capture_output=True, text=True, cwd=ROOT, check=False)
    if run.returncode:
        raise RuntimeError(f"{command} ended with {run.returncode}:\n{run.stderr[-2000:]}")
    return rows(run.stdout)


def check(table: Made) -> bool:
    """Run a table's command, and say what it prints that the page does not have."""
    if table.by_hand:
        print(f"by hand  {named(table.page)}: {table.command[:90]} ({table.by_hand})")
        return True
    printed = printed_by(table.command)
    wrong = astray(table.rows, printed)
    right = bool(printed) and not wrong
    print(f"{'right' if right else 'WRONG':8} {named(table.page)}: {table.command}", flush=True)
    for row in wrong:
        print("    now: | " + " | ".join(row.values()) + " |")
    return right


def main() -> int:
    pages = [ROOT / name for name in sys.argv[1:]] or PAGES
    right = [check(table) for page in pages for table in made(page)]  # all of them, also behind a wrong one
    return 0 if all(right) else 1


if __name__ == "__main__":
    raise SystemExit(main())
