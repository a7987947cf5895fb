"""The measure in a job: planned where it applies, made, reported; and left out where a reading asks several times."""

from __future__ import annotations

import pandas as pd
import pytest

from analyses.measures.applicability import asks_once
from probe.jobs import parse_spec
from probe.jobs.run.runner import run_job

SPEC = """
pairs: [{{pair: zoo:masked, controls: false}}]
tasks: [ioi]
measures: [{{measure: features, learns_from: 200, latents: 32, k: 4, steps: 20, rows: 64}}]
readings: [{reading}]
budget: {{examples: 8, resamples: 100, workers: 0}}
output: {folder}
"""


def test_a_job_makes_it_and_the_report_shows_it(tmp_path):
    assert run_job(parse_spec(SPEC.format(reading="prefix", folder=tmp_path / "run"))).state == "complete"
    (file,) = (tmp_path / "run" / "results").glob("features*.parquet")
    table = pd.read_parquet(file)
    assert set(table["pair"]) == {"ar and diffusion"}
    assert not list((tmp_path / "run").rglob("*.zarr"))  # the states are thrown away
    assert "crosscoder" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(("reading", "applies"), [("prefix", True), ("one_mask", True), ("trajectory", False)])
def test_readings_that_ask_several_times_are_left_out(reading, applies, tmp_path):
    spec = parse_spec(SPEC.format(reading=reading, folder=tmp_path))
    place = {axis: next(iter(labels)) for axis, labels in spec.labelled.items()}
    assert (asks_once(place, spec) is None) == applies
