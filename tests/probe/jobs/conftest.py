"""Stand-in stages beside the real ones, for every test of jobs that asks for them."""

from __future__ import annotations

import pytest

from probe.jobs.stages import registry
from tests.probe.jobs.stand_ins import COUNTS, NAMED


@pytest.fixture
def stand_ins(monkeypatch, tmp_path):
    """The stand-ins, and a function that says how often a unit was begun."""
    counts = tmp_path / "counts"
    counts.mkdir()
    monkeypatch.setenv(registry.VARIABLE, NAMED)
    monkeypatch.setenv(COUNTS, str(counts))
    registry.stages.cache_clear()

    def begun() -> dict[str, int]:
        return {file.name.replace("|", "/"): len(file.read_text()) for file in counts.iterdir()}

    yield begun
    registry.stages.cache_clear()
