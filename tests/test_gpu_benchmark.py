"""The script for a machine with a GPU runs from end to end where there is none, in a small shape."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

BENCHMARKS = Path(__file__).parent / "benchmarks"


def test_it_prints_its_table(monkeypatch, capsys):
    for name in ("frame", "scale", "gpu"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--tiny", "--device", "cpu"])
    import_module("gpu").run()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    columns, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    table = {row[0].partition(" (")[0]: dict(zip(columns, row, strict=True)) for row in rows}
    assert list(table) == [
        "make the pair",
        "record resid_post, head_out at one position",
        "attribute edges, m = 5",
        "attribute edges by prompt, directions, m = 5",
        "decode, autoregressive",
        "decode, masked, 3 steps, greedy",
        "decode, masked, 3 steps, T = 0.3",
    ]
    for name, row in table.items():
        assert float(row["seconds"]) > 0, name
    for name in ("attribute edges, m = 5", "attribute edges by prompt, directions, m = 5"):
        off = float(table[name]["memory said"].partition("(")[2].rstrip("%)"))
        assert abs(off) < 25
    assert "100% of tokens are the loop's" in "".join(lines)
