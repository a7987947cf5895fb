"""What the README shows must run, and its tables must be what the commands beside them print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_the_lines_of_python_run():
    first, second, *_ = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), flags=re.DOTALL)
    found: dict = {}
    exec(compile(first, str(README), "exec"), found)
    found["batch"], whole = found["batch"][:32], found["batch"]
    exec(compile(second, str(README), "exec"), found)
    found["batch"] = whole
    assert found["trace"].sizes["example"] == 256
    assert found["batch"].selection_rate > 0.9


def test_the_self_test_table_is_what_check_prints():
    (table,) = re.findall(r"twinprobe check zoo:masked -->\n```\n(.*?)```", README.read_text("utf-8"), flags=re.DOTALL)
    command = [Path(sys.executable).with_name("twinprobe"), "check", "zoo:masked"]
    environment = {**os.environ, "COLUMNS": "130"}
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert rows(run.stdout) == rows(table)


def rows(table: str) -> list[str]:
    """The table's words; what is measured differs in its last digits from one machine to another."""
    return [re.sub(r"\d+e[-+]\d+|[-+]?\d+\.\d+", "#", line).strip() for line in table.strip().splitlines()]
