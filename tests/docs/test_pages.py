"""What README and docs show must run, and their tables must be what the commands beside them print.

The blocks of a page run in order and share their names, as they would for a reader who types along. A block under
`<!-- not run: REASON -->` is left out. Pages whose blocks take long are `slow`. The pages of docs/how_to are packages
to be installed: each is run by the test of the thing that it adds (see tests/how_to.py).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.command import twinprobe
from tests.docs.pages import PAGES, README, ROOT, blocks, named

SLOW = {"README.md", "docs/circuits.md", "docs/measures.md"}
RUN = [
    pytest.param(page, id=named(page), marks=[pytest.mark.slow] if named(page) in SLOW else [])
    for page in PAGES
    if blocks(page) and page.parent.name != "how_to"
]


@pytest.mark.parametrize("page", RUN)
def test_a_page_s_python_runs(page: Path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "__main__"}
    for number, code in enumerate(blocks(page), start=1):
        exec(compile(code, f"{named(page)}, block {number}", "exec"), names)


@pytest.mark.parametrize("page", [page.name for page in PAGES if page.parent.name == "how_to"])
def test_a_how_to_page_is_run_by_a_test_of_its_own(page: str):
    others = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    assert [path for path in others if page in path.read_text("utf-8")]


def test_the_readme_s_example_takes_ten_lines():
    first, *_ = blocks(README)
    assert len([line for line in first.splitlines() if line.strip()]) <= 10
    assert len(README.read_text("utf-8").splitlines()) <= 160


def test_the_self_test_table_is_what_check_prints():
    page = (ROOT / "docs" / "models.md").read_text("utf-8")
    (table,) = re.findall(r"twinprobe check zoo:masked -->\n+```\n(.*?)```", page, flags=re.DOTALL)
    assert rows(twinprobe("check", "zoo:masked", width=130).stdout) == rows(table)


def rows(table: str) -> list[str]:
    """The table's words; what is measured differs in its last digits from one machine to another."""
    return [re.sub(r"\d+e[-+]\d+|[-+]?\d+\.\d+", "#", line).strip() for line in table.strip().splitlines()]
