"""Tables of the docs are what their commands print: the quick rows here, all by `python -m tests.docs.tables`."""

from __future__ import annotations

import re
import shlex

import pytest

from analyses.calibration.__main__ import as_markdown
from analyses.calibration.table import table
from tests.docs.pages import PAGES, ROOT, named
from tests.docs.tables import BY_HAND, QUICK, Made, astray, made, rows

TABLES = [table for page in PAGES for table in made(page)]
COMPARED = [one for one in TABLES if not one.by_hand]
PAGE = rows(
    "| task | right | seconds |\n|---|---|---|\n| ioi | 24.3% (19.8% to 29.5%) | 1.1 |\n| paths | 0.50 | 2.0 |\n"
)


@pytest.mark.parametrize("shown", COMPARED, ids=lambda one: f"{named(one.page)}: {one.command}")
def test_a_table_s_command_can_still_be_called(shown: Made):
    """Its file is there and knows its options, and rows stand under it: what takes minutes is run by hand."""
    _, *words = shlex.split(shown.command)
    place = words[1].replace(".", "/") if words[0] == "-m" else words[0].removesuffix(".py")
    script = next(file for file in (ROOT / f"{place}.py", ROOT / place / "__main__.py") if file.is_file())
    known = script.read_text("utf-8") + (ROOT / "tests/benchmarks/frame.py").read_text("utf-8")
    options = [word.removeprefix("--") for word in words if word.startswith("--")]
    assert [option for option in options if not re.search(rf'--{option}"|\b{option}=', known)] == []
    assert shown.rows


def test_what_is_listed_is_on_a_page():
    commands = [one.command for one in TABLES]
    assert [command for command in QUICK if command not in commands] == []
    assert [part for part in BY_HAND if not any(part in command for command in commands)] == []


def test_the_calibration_s_quick_rows_are_the_page_s():
    (command, (_, *figures)), *_ = QUICK.items()
    (shown,) = [one for one in TABLES if one.command == command]
    printed = rows(as_markdown(table(pairs=int(command.split()[-1]), figures=figures).table))
    assert len(printed) == len(figures)
    assert astray(shown.rows, printed) == []


@pytest.mark.parametrize(
    ("printed", "right"),
    [
        ("| ioi | 21.0% (17.0% to 25.9%) | 3.0 |", True),  # within the page's interval; another machine's seconds
        ("| ioi | 31.0% (26.0% to 36.0%) | 1.1 |", False),
        ("| paths | 0.51 | 2.0 |", True),  # one in the last digit
        ("| paths | 0.56 | 2.0 |", False),
        ("| sudoku | 0.50 | 2.0 |", False),
    ],
)
def test_a_row_that_changed_is_noticed(printed: str, right: bool):
    found = rows(f"| task | right | seconds |\n|---|---|---|\n{printed}\n")
    assert (astray(PAGE, found) == []) == right
