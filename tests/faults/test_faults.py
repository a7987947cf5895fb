"""Two hundred faults lose nothing; and a fault that does lose something would be seen."""

from __future__ import annotations

import shutil

import pytest

from tests.faults import kinds
from tests.faults.count import FAULTS, as_markdown, faults

pytestmark = pytest.mark.slow


def test_two_hundred_faults_lose_nothing(tmp_path):
    rows = faults(tmp_path, FAULTS, seed=0)
    print(as_markdown(rows, 0))
    assert [row.lost for row in rows if row.lost] == []
    assert sum(row.count for row in rows) == FAULTS == 200
    assert {row.kind for row in rows if not row.count} == set()


def test_what_is_lost_is_counted(tmp_path, monkeypatch):
    """A fault whose damage stays: somebody else's file is gone."""

    def burned(world, _draw) -> str:
        shutil.rmtree(world.elsewhere)
        world.mended()
        return kinds.MENDED

    monkeypatch.setattr(kinds, "KINDS", {})
    monkeypatch.setattr("tests.faults.count.KINDS", {"a house is burned": (1, burned)})
    (row,) = faults(tmp_path, 1)
    assert len(row.lost) == 1
    assert "somebody else's files" in row.lost[0]
