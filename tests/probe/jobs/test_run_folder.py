"""A run folder is opened, or refused with a word on what is wrong with it."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from probe.errors import ProbeError
from probe.jobs.run_folder import nearby, one_row_an_estimate, open_run
from tests.probe.jobs.made_up import heads, write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "demo")


def test_it_gives_back_what_was_written(folder):
    run = open_run(folder)
    saved = run.saved(next(unit for unit in run.done if unit.measure == "attention"))
    written = heads(0)
    assert saved.table.equals(written.table)
    assert (saved.title, saved.caption, saved.drawing) == (written.title, written.caption, written.drawing)
    assert saved.about == written.about
    assert (len(run.done), len(run.failed)) == (12, 1)


def test_its_figure_is_the_one_that_the_result_draws(folder):
    run = open_run(folder)
    unit = next(unit for unit in run.done if unit.measure == "attention")
    assert run.figure(unit) == json.loads(str(heads(0).figure().to_json()))


def test_shared_work_is_no_answer_but_its_failure_is_told(tmp_path):
    units = [
        {"id": "pool", "kind": "shared", "status": "done"},
        {"id": "circuit", "kind": "shared", "status": "failed", "error": {"kind": "MemoryError", "message": "no room"}},
        {"id": "index", "kind": "measure", "measure": "index", "status": "failed"},
        {"id": "later", "kind": "measure", "measure": "index", "status": "missing"},
        {"id": "elsewhere", "kind": "measure", "measure": "index", "status": "skipped"},
    ]
    (tmp_path / "manifest.json").write_text(json.dumps({"units": units}))
    run = open_run(tmp_path)
    assert [unit.id for unit in run.failed] == ["circuit", "index", "later"]
    assert [unit.id for unit in run.measures] == ["index", "later"]
    assert [unit.id for unit in run.skipped] == ["elsewhere"]


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        (None, "manifest.json"),
        ("", "expected JSON"),
        ("[]", "a JSON object"),
        ('{"units": 3}', "a list of units"),
        ('{"units": [{"status": "done"}]}', "each with its id"),
        ('{"units": [7]}', "each with its id"),
    ],
)
def test_what_is_no_run_is_told(tmp_path, manifest, told):
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(ProbeError, match=told):
        open_run(tmp_path)


@pytest.mark.parametrize("named", ["../secret.parquet", "/etc/passwd", "results/../../secret.parquet"])
def test_a_manifest_cannot_name_files_outside_of_its_folder(tmp_path, named):
    entry = {"id": "a", "measure": "m", "status": "done", "result": named}
    (tmp_path / "manifest.json").write_text(json.dumps({"units": [entry]}))
    run = open_run(tmp_path)
    with pytest.raises(ProbeError, match="inside the run folder"):
        run.saved(run.units[0])


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no table at all"])
def test_a_result_that_is_no_table_is_told(tmp_path, content):
    (tmp_path / "a.parquet").write_bytes(content)
    entry = {"id": "a", "measure": "m", "status": "done", "result": "a.parquet"}
    (tmp_path / "manifest.json").write_text(json.dumps({"units": [entry]}))
    run = open_run(tmp_path)
    with pytest.raises(ProbeError, match="a parquet file"):
        run.saved(run.units[0])


def test_a_table_with_a_column_a_measure_gives_its_estimates_one_by_one():
    table = pd.DataFrame({"layer": [0, 1], "sink": [0.1, 0.2], "sink_low": [0.0, 0.1], "sink_high": [0.2, 0.3], "n": 8})
    wide = table.assign(next=0.5, next_low=0.4, next_high=0.6, next_p=0.01, model="ar")
    found = one_row_an_estimate(wide).set_index(["measure", "layer"])
    assert found.loc[("sink", 1), ["estimate", "low", "high", "n", "model"]].tolist() == [0.2, 0.1, 0.3, 8, "ar"]
    assert found.loc[("next", 0), ["estimate", "low", "high", "p"]].tolist() == [0.5, 0.4, 0.6, 0.01]
    assert len(found) == 4
    assert one_row_an_estimate(found.reset_index()).equals(found.reset_index())  # such a table stays as it is


def test_runs_nearby_are_found_newest_first(tmp_path):
    import os

    for age, name in enumerate(("new", "deep/er/old")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "manifest.json").write_text("{}")
        os.utime(tmp_path / name / "manifest.json", (1e9 - age, 1e9 - age))
    assert nearby(tmp_path) == [tmp_path / "new", tmp_path / "deep/er/old"]
