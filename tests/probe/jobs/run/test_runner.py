"""Jobs: what is done, what is not done again, and what becomes of what goes wrong."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from probe.errors import ProbeError
from probe.jobs.run.runner import run_job as run
from probe.jobs.run.unit_store import UnitStore
from probe.jobs.run.verify import verify
from tests.probe.jobs.asked import same, spec_of, tables


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def units(folder: Path) -> dict[str, dict]:
    return {unit["id"]: unit for unit in manifest(folder)["units"]}


MEAN, NUMBERS = "mean/zoo:masked/ioi/prefix/0", "numbers/zoo:masked/ar/ioi/prefix/0"


def test_every_combination_is_one_unit_and_shared_work_is_done_once(stand_ins, tmp_path):
    summary = run(spec_of(tmp_path / "run", seeds=[0, 1]))
    assert (summary.state, summary.exit_code) == ("complete", 0)
    begun = stand_ins()
    assert set(begun.values()) == {1}
    kinds = [name.partition("/")[0] for name in begun]
    # 2 tasks × 2 seeds, of 3 models; "across" looks at both tasks at once.
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"numbers": 12, "mean": 4, "across": 2}
    found = tables(tmp_path / "run")
    assert len(found) == 6
    assert list(found["mean__zoo-masked__ioi__prefix__1"].model) == ["ar", "diffusion", "ar-cpt"]
    assert list(found["across__zoo-masked__prefix__0"].model)[:2] == ["ar ioi", "ar greater_than"]


def test_a_run_folder_holds_what_the_house_says(stand_ins, tmp_path):
    folder = tmp_path / "run"
    summary = run(spec_of(folder))
    assert summary.report == folder / "report.html"
    for name in ("spec.yaml", "manifest.json", "report.html"):
        assert (folder / name).is_file()
    assert {file.stem for file in folder.glob("figures/*.json")} == set(tables(folder))
    told = manifest(folder)
    assert told["state"] == "complete"
    assert told["seeds"] == [0]
    assert {"torch", "python", "twinprobe"} <= told["versions"].keys()
    assert len(told["weights"]["zoo:masked"]["sha256"]) == 64
    unit = units(folder)[MEAN]
    assert unit["status"] == "done"
    assert unit["needs"] == [NUMBERS.replace("/ar/", f"/{role}/") for role in ("ar", "diffusion", "ar-cpt")]
    assert (folder / unit["result"]).is_file()
    assert unit["made"]["settings"] == {"resamples": 5}


def test_the_same_command_again_does_nothing(stand_ins, finished):
    before, first = stand_ins(), tables(finished)
    assert set(before.values()) == {1}
    again = run(spec_of(finished))
    assert stand_ins() == before
    assert again.cached == sum(again.counts.values())
    assert same(tables(finished), first)


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"budget": {"resamples": 6}}, {"mean", "across"}),  # a number of the measures alone
        ({"budget": {"examples": 5}}, {"mean", "across", "numbers"}),  # other prompts: everything
        ({"seeds": [0, 1]}, {"mean", "across", "numbers"}),  # only what is new
        ({"budget": {"threads": 2, "minutes": 60}}, set()),  # how fast, not what
        ({"name": "another", "question": "Why?"}, set()),
    ],
)
def test_a_changed_spec_does_only_what_the_change_concerns(stand_ins, finished, change, again):
    before = stand_ins()
    summary = run(spec_of(finished, **change))
    assert summary.state == "complete"
    fresh = {name.partition("/")[0] for name, times in stand_ins().items() if times != before.get(name, 0)}
    assert fresh == again
    if "seeds" in change:
        assert all(stand_ins()[name] == 1 for name in before)


def test_results_are_those_of_the_present_spec(finished):
    run(spec_of(finished, tasks=["ioi"], measures=["mean"]))
    assert set(tables(finished)) == {"mean__zoo-masked__ioi__prefix__0"}
    back = run(spec_of(finished))  # what an earlier spec asked for is still there
    assert back.cached == sum(back.counts.values())
    assert len(tables(finished)) == 3


def test_a_failing_unit_takes_only_those_along_that_need_it(stand_ins, tmp_path):
    folder = tmp_path / "run"
    summary = run(spec_of(folder, measures=["wrong", "after_wrong", "mean", "nowhere"], tasks=["ioi"]))
    assert (summary.state, summary.exit_code) == ("failed", 1)
    found = {name.partition("/")[0]: unit for name, unit in units(folder).items()}
    assert found["wrong"]["status"] == found["after_wrong"]["status"] == "failed"
    assert found["wrong"]["error"]["kind"] == "ValueError"
    assert "stand_ins.py" in found["wrong"]["error"]["traceback"]
    assert found["after_wrong"]["error"]["kind"] == "NeedFailed"
    assert found["nowhere"]["status"] == "skipped"
    assert found["mean"]["status"] == "done"
    report = (folder / "report.html").read_text()
    assert "<b>it went wrong</b>" not in report
    assert "it went wrong" in report


def test_a_figure_that_cannot_be_drawn_costs_no_number(stand_ins, tmp_path):
    summary = run(spec_of(tmp_path / "run", measures=["undrawable"], tasks=["ioi"]))
    assert (summary.state, summary.exit_code) == ("complete", 0)
    assert "could not be drawn" in summary.why
    assert len(tables(tmp_path / "run")) == 1
    (unit,) = units(tmp_path / "run").values()
    assert unit["status"] == "done"
    assert any("no figure" in note for note in unit["notes"])


def test_out_of_memory_halves_the_batch_and_says_so(stand_ins, tmp_path):
    summary = run(spec_of(tmp_path / "run", measures=["hungry"], tasks=["ioi"], budget={"examples": 24}))
    assert summary.exit_code == 0
    (unit,) = units(tmp_path / "run").values()
    said = "out of memory with {} rows at a time: continued with {}"
    assert unit["notes"] == [said.format("all", 12), said.format(12, 6), said.format(6, 3)]


def test_out_of_memory_with_one_row_is_a_failure(stand_ins, tmp_path):
    summary = run(spec_of(tmp_path / "run", measures=[{"measure": "hungry", "most": 0}], tasks=["ioi"]))
    (error,) = summary.failures.values()
    assert error["kind"] == "OutOfMemoryError"


def test_a_spent_time_budget_ends_the_run_and_the_next_goes_on(stand_ins, tmp_path):
    stopped = run(spec_of(tmp_path / "run", budget={"minutes": 1e-9}))
    assert (stopped.state, stopped.exit_code) == ("stopped", 1)
    assert stopped.counts["missing"] > 0
    assert run(spec_of(tmp_path / "run")).state == "complete"


@pytest.mark.parametrize("name", ["numbers.npy", "unit.json", "mean.parquet"])
@pytest.mark.parametrize("how", ["changed", "cut", "gone"])
def test_a_damaged_file_is_found_and_made_again(finished, name, how):
    first = tables(finished)
    victim = sorted((finished / "units").glob(f"*/{name}"))[0]
    content = victim.read_bytes()
    victim.unlink()
    if how != "gone":
        middle = len(content) // 2
        changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        victim.write_bytes(changed if how == "changed" else content[:middle])
    assert sum(finding.trouble != "" for finding in verify(finished, sample=0)) == 1
    summary = run(spec_of(finished))
    assert summary.cached == sum(summary.counts.values()) - 1
    assert same(tables(finished), first)
    assert [finding for finding in verify(finished, sample=0) if finding.trouble] == []
    assert sum(any("damaged" in note for note in unit["notes"]) for unit in units(finished).values()) == 1


def test_verify_makes_a_sample_again(finished):
    findings = verify(finished, sample=3, tell=lambda words: None)
    assert [finding.trouble for finding in findings if finding.what.startswith("made again")] == ["", "", ""]


def test_verify_tells_a_forged_number(stand_ins, tmp_path):
    """Numbers that were changed together with their hashes are no longer what the code gives."""
    spec = spec_of(tmp_path / "run", tasks=["ioi"], measures=["mean"])
    run(spec)
    folder = tmp_path / "run"
    digest = units(folder)[NUMBERS]["hash"]
    store, path = UnitStore(folder), folder / "units" / digest
    record = store.record(digest)
    forged = np.load(path / "numbers.npy")
    np.save(path / "numbers.npy", forged + 1)
    from probe.jobs.run.plan import plan_of

    unit = plan_of(spec).units[digest]
    store.commit(path, unit, {key: record[key] for key in ("seconds", "started", "notes", "measure")})
    (path_of_mean,) = (folder / "units" / units(folder)[MEAN]["hash"]).glob("*.parquet")
    path_of_mean.unlink()
    run(spec)  # the measure is made again, from the forged numbers
    troubled = [finding for finding in verify(folder, sample=1, tell=lambda words: None) if finding.trouble]
    assert [finding.what for finding in troubled] == [f"made again: {MEAN}"]
    assert "'estimate'" in troubled[0].trouble


def test_two_runs_in_one_folder_the_second_is_refused(stand_ins, tmp_path, monkeypatch):
    monkeypatch.setenv("STAND_IN_PAUSE", "0.1")
    spec = spec_of(tmp_path / "run")
    first: list = []
    thread = threading.Thread(target=lambda: first.append(run(spec)))
    thread.start()
    while not (tmp_path / "run" / "manifest.json").exists():
        pass
    with pytest.raises(ProbeError, match=f"process {os.getpid()}"):
        run(spec)
    thread.join()
    assert first[0].state == "complete"


def test_only_some_units_and_what_they_need(stand_ins, tmp_path):
    summary = run(spec_of(tmp_path / "run"), only="mean/*/ioi/*")
    assert summary.state == "complete"
    assert set(tables(tmp_path / "run")) == {"mean__zoo-masked__ioi__prefix__0"}
    with pytest.raises(ProbeError, match="Did you mean"):
        run(spec_of(tmp_path / "run"), only="maen/zoo:masked/ioi/prefix/0")


def test_a_folder_with_other_things_is_left_alone(stand_ins, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ProbeError, match="other things"):
        run(spec_of(tmp_path))
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    with pytest.raises(ProbeError):
        run(spec_of(tmp_path / "thesis.tex"))


def test_a_work_cannot_read_what_its_name_does_not_tell(stand_ins, tmp_path):
    from probe.jobs.run.plan import plan_of
    from probe.jobs.run.stage_inputs import Inputs, WorkerContext
    from probe.jobs.stages.registry import known_stage

    plan = plan_of(spec_of(tmp_path / "run"))
    unit = next(unit for unit in plan if unit.stage == "mean")
    given = Inputs(WorkerContext(plan, tmp_path), unit, known_stage("mean"), tmp_path)
    with pytest.raises(LookupError, match="examples"):
        given.setting("examples")
    with pytest.raises(LookupError, match="pool"):
        _ = given.batch


@pytest.mark.parametrize("name", ["figures/*.json", "report.html", "report.md", "report.parquet", "results/*.parquet"])
def test_verify_tells_a_change_of_whatever_a_reader_sees(finished, name):
    assert [finding for finding in verify(finished, sample=0) if finding.trouble] == []
    victim = next(finished.glob(name))
    content = victim.read_bytes()
    victim.unlink()  # a table is a second name of the unit's own file
    victim.write_bytes(content.replace(b"mean", b"MEAN") + b" ")
    troubled = [finding.what for finding in verify(finished, sample=0) if finding.trouble]
    assert f"file {victim.relative_to(finished)}" in troubled


def test_a_report_shows_nothing_that_fails_verification(finished):
    from probe.jobs.report.render import write_report

    figure = next((finished / "figures").glob("*ioi*"))
    figure.write_text(figure.read_text().replace("diffusion", "FORGED"))
    table = next((finished / "results").glob("*greater_than*"))
    content = table.read_bytes()
    table.unlink()
    table.write_bytes(content + b" ")
    text = write_report(finished).read_text()
    assert text.count("No figure was saved") == 1
    assert "not what the run wrote" in text
    assert text.count('class="plot"') == 1  # the measure over both tasks, which nobody touched
