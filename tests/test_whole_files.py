"""Each file is run by one process of pytest-xdist, and so are files that share something costly."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from tests.whole_files import FIRST, TOGETHER, group_of

ROOT = Path(__file__).parents[1]
WHO = """
import os, pathlib, pytest

@pytest.mark.parametrize("turn", range(6))
def test_it(turn):
    with pathlib.Path("who").open("a") as file:
        print(__name__, os.environ["PYTEST_XDIST_WORKER"], file=file)
"""


def test_a_file_is_run_by_one_process_and_so_is_a_group(tmp_path):
    together = {"tests/app/test_browser_x.py", "tests/probe/views/test_drawn_y.py"}
    for name in ("test_a.py", "test_b.py", "test_c.py", *together):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(WHO)
    (tmp_path / "pytest.ini").touch()
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "tests.whole_files", "-p", "no:cacheprovider"]
    subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, check=True, capture_output=True)
    who = defaultdict(set)
    lines = (tmp_path / "who").read_text().split("\n")[:-1]
    for line in lines:
        module, worker = line.split()
        who["browser" if "_x" in module or "_y" in module else module].add(worker)
    assert len(lines) == 30
    assert {name: len(workers) for name, workers in who.items()} == dict.fromkeys(who, 1)
    assert set.union(*who.values()) == {"gw0", "gw1"}


def test_what_is_named_is_there():
    files = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "tests").rglob("test_*.py"))]
    found = [group_of(file) for file in files]
    assert set(FIRST) <= set(found)
    begins = [f"tests/{begin}" for group in TOGETHER.values() for begin in group]
    assert [begin for begin in begins if not any(file.startswith(begin) for file in files)] == []
