"""docs/how_to/add_a_measure.md, run: a measure that another package declares is computed by a job and reported."""

from __future__ import annotations

import pandas as pd
import pytest

from probe.errors import ProbeError
from probe.jobs import parse_spec
from probe.jobs.run.runner import run_job as run
from probe.jobs.stages import registry
from tests import how_to

PAGE = "add_a_measure.md"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    how_to.install(PAGE, tmp_path, monkeypatch)
    registry.stages.cache_clear()
    yield
    registry.stages.cache_clear()


def test_a_measure_of_ones_own_runs_in_a_job(installed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert registry.measures()["helping"].needs == ("circuit",)
    summary = run(parse_spec(how_to.blocks(PAGE, "yaml")[0]))
    assert summary.state == "complete"
    (file,) = (tmp_path / "runs" / "helping" / "results").glob("helping*.parquet")
    table = pd.read_parquet(file)
    assert set(table["model"]) == {"zoo:ar", "zoo:masked"}
    assert table["estimate"].between(0.5, 1).all()  # more of it helps than hurts, of prompts that both answer right
    assert (table["low"] < table["estimate"]).all()
    assert "How much of the attribution helps the answer" in (tmp_path / "runs" / "helping" / "report.html").read_text()


def test_without_the_package_the_measure_is_unknown():
    registry.stages.cache_clear()
    with pytest.raises(ProbeError, match="helping"):
        parse_spec(how_to.blocks(PAGE, "yaml")[0])
