"""Stand-in works beside the real ones, for every test of jobs that asks for them."""

from __future__ import annotations

import pytest

from probe.jobs import works
from tests.probe.jobs.stand_ins import COUNTS, NAMED


@pytest.fixture
def stand_ins(monkeypatch, tmp_path):
    """The stand-ins, and a function that says how often a unit was begun."""
    counts = tmp_path / "counts"
    counts.mkdir()
    monkeypatch.setenv(works.VARIABLE, NAMED)
    monkeypatch.setenv(COUNTS, str(counts))
    works.works.cache_clear()

    def begun() -> dict[str, int]:
        return {file.name.replace("|", "/"): len(file.read_text()) for file in counts.iterdir()}

    yield begun
    works.works.cache_clear()
