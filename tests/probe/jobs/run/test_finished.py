"""The same command over a finished run: it says at once that all is there, with the answer, and touches nothing."""

from __future__ import annotations

import os

import pytest

from probe.jobs.report.answer import answer_in
from probe.jobs.run import finished as module
from probe.jobs.run.runner import run_job
from tests.probe.jobs.asked import spec_of


def shown(folder):
    files = (file for file in folder.rglob("*") if file.is_file() and file.name not in (".lock", "weights.json"))
    return {file: (os.stat(file).st_mtime_ns, os.stat(file).st_ino) for file in files if file.name != "spec.yaml"}


@pytest.fixture
def twice(finished):
    """A run whose folder was looked at once where it now lies."""
    run_job(spec_of(finished))
    return finished


def test_nothing_is_touched_and_all_is_told(twice, monkeypatch):
    before = shown(twice)
    monkeypatch.setattr("probe.jobs.run.runner.write_report", lambda folder: pytest.fail("the report is there"))
    summary = run_job(spec_of(twice))
    assert (summary.state, summary.exit_code) == ("complete", 0)
    assert summary.cached == summary.counts["done"] == sum(summary.counts.values())
    assert summary.report == twice / "report.html"
    assert shown(twice) == before


@pytest.mark.parametrize("victim", ["report.html", "report.md", "manifest.json", "figures", "results", "units"])
def test_what_is_missing_is_made_again(twice, victim):
    files = twice / victim
    file = files if files.is_file() else next(file for file in sorted(files.rglob("*")) if file.is_file())
    file.unlink()
    assert run_job(spec_of(twice)).state == "complete"
    assert file.is_file()


def test_what_was_changed_is_made_again(twice):
    (twice / "report.md").write_text("Forged.")
    run_job(spec_of(twice))
    assert "Forged" not in (twice / "report.md").read_text()


def test_another_question_makes_another_report(twice):
    run_job(spec_of(twice, question="Why, then?"))
    assert "Why, then?" in (twice / "report.md").read_text()


def test_other_code_makes_the_report_again(twice, monkeypatch, tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "new.py").write_text("")
    sources = module._sources
    monkeypatch.setattr(module, "_sources", lambda plan: [*sources(plan), tmp_path / "code"])
    before = os.stat(twice / "report.html").st_mtime_ns
    run_job(spec_of(twice))
    assert os.stat(twice / "report.html").st_mtime_ns > before


def test_a_run_that_failed_is_no_finished_one(stand_ins, tmp_path):
    spec = spec_of(tmp_path / "run", measures=["wrong", "mean"], tasks=["ioi"])
    assert run_job(spec).state == "failed"
    assert not (tmp_path / "run" / ".scratch" / module.NOTE).exists()
    assert run_job(spec).state == "failed"


def test_the_answer_is_what_the_report_begins_with(tmp_path):
    report = tmp_path / "report.md"
    report.write_text(
        "# A *question*\n\n## What came out\n\n- In a\\|b, R &gt; 0.5.\n- Undecided: c.\n\n| x |\n- later\n"
    )
    assert answer_in(report) == ("In a|b, R > 0.5.", "Undecided: c.")
    report.write_text("# A question\n\nNo answer.\n")
    assert answer_in(report) == ()
    assert answer_in(tmp_path / "none.md") == ()


def test_the_last_line_is_the_report_and_the_answer_stands_above(twice, capsys):
    from probe.cli import jobs

    summary = run_job(spec_of(twice))
    jobs._print_answer(("In zoo:masked, the circuit is kept.",), summary.report)
    lines = capsys.readouterr().out.splitlines()
    assert "the circuit is kept" in lines[0]
    assert lines[-1] == str(summary.report)


def test_a_pipe_gets_lines_while_it_runs_and_none_where_nothing_is_to_do(stand_ins, tmp_path, capsys, monkeypatch):
    from probe import progress
    from probe.cli.run_progress import RunProgress

    monkeypatch.setattr(progress, "EVERY", 0.0)
    run_job(spec_of(tmp_path / "run"), watcher=RunProgress())
    lines = capsys.readouterr().err.splitlines()
    assert any(" of " in line and "units" in line and "left" in line for line in lines)
    assert lines[-1].startswith("writing the report: ")
    run_job(spec_of(tmp_path / "run"), watcher=RunProgress())
    assert capsys.readouterr().err == ""
