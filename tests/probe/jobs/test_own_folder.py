"""Nothing of the user's is lost: not in a folder that looks like a run, not behind a link in one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from probe.errors import ProbeError
from probe.jobs.own_folder import MARKER, claim
from probe.jobs.report.render import write_report
from probe.jobs.run.runner import run_job as run
from tests.probe.jobs.asked import spec_of, tables, text_of
from tests.probe.jobs.made_up import write_run

ONE = {"tasks": ["ioi"], "measures": ["mean"]}


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_a_project_with_a_spec_and_folders_of_its_own_is_left_alone(stand_ins, tmp_path):
    """As it was found: `twinprobe run .` deleted `results/` and `figures/` and rewrote the spec."""
    project = tmp_path / "project"
    for name in ("results/mine.csv", "figures/mine.png", "units/notes.txt", "manifest.json"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("years of work")
    (project / "spec.yaml").write_text(text_of(project, **ONE))
    before = snapshot(project)
    with pytest.raises(ProbeError, match=MARKER):
        run(spec_of(project, **ONE))
    assert snapshot(project) == before


def test_a_report_is_not_written_into_a_folder_that_no_run_made(tmp_path):
    folder = write_run(tmp_path / "run", units=[])
    (folder / MARKER).unlink()
    (folder / "report.html").write_text("mine")
    with pytest.raises(ProbeError, match=MARKER):
        write_report(folder)
    assert (folder / "report.html").read_text() == "mine"


def test_only_what_the_run_wrote_is_removed(stand_ins, tmp_path):
    folder = tmp_path / "run"
    run(spec_of(folder, measures=["mean"]))
    for name in ("results/mine.parquet", "figures/mine.json", "traces/mine.txt", "thesis.tex", ".scratch/mine"):
        (folder / name).write_text("years of work")
    assert run(spec_of(folder, **ONE)).state == "complete"
    assert not (folder / "results" / "mean__zoo-masked__greater_than__prefix__0.parquet").exists()
    for name in ("results/mine.parquet", "figures/mine.json", "traces/mine.txt", "thesis.tex", ".scratch/mine"):
        assert (folder / name).read_text() == "years of work"


def test_a_manifest_from_elsewhere_cannot_name_what_is_removed(stand_ins, tmp_path):
    folder = tmp_path / "run"
    run(spec_of(folder, **ONE))
    mine = tmp_path / "mine.parquet"
    mine.write_text("years of work")
    (folder / "thesis.tex").write_text("years of work")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shown"] += [
        "results/../../mine.parquet",
        str(mine),
        "../mine.parquet",
        "thesis.tex",
        "results/..",
        "results/",
    ]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert run(spec_of(folder, **ONE)).state == "complete"
    assert mine.read_text() == (folder / "thesis.tex").read_text() == "years of work"


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    """A folder and a file outside of the run that links in it lead to."""
    folder = tmp_path / "elsewhere"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "file.txt").write_text("years of work")
    (folder / "file.txt").write_text("years of work")
    return folder


@pytest.mark.parametrize("name", ["units", ".scratch", "results", "figures", "traces"])
def test_a_link_in_place_of_a_folder_is_refused(stand_ins, tmp_path, elsewhere, name):
    folder = tmp_path / "run"
    claim(folder)
    (folder / name).symlink_to(elsewhere, target_is_directory=True)
    before = snapshot(elsewhere)
    with pytest.raises(ProbeError, match="a link"):
        run(spec_of(folder, **ONE))
    assert snapshot(elsewhere) == before


@pytest.mark.parametrize(
    "name", ["spec.yaml", "manifest.json", "report.html", "report.md", "report.parquet", ".report.html.part", ".lock"]
)
def test_a_link_in_place_of_a_file_is_replaced_or_refused_and_never_written_through(
    stand_ins, tmp_path, elsewhere, name
):
    folder = tmp_path / "run"
    claim(folder)
    (folder / name).symlink_to(elsewhere / "file.txt")
    before = snapshot(elsewhere)
    if name == ".lock":
        with pytest.raises(ProbeError, match="a link"):
            run(spec_of(folder, **ONE))
    else:
        assert run(spec_of(folder, **ONE)).state == "complete"
    assert snapshot(elsewhere) == before


def test_links_among_units_leftovers_and_results_lead_to_no_loss(stand_ins, tmp_path, elsewhere):
    folder = tmp_path / "run"
    run(spec_of(folder, **ONE))
    first = tables(folder)
    for unit in sorted((folder / "units").iterdir())[:2]:
        for file in unit.iterdir():
            file.unlink()
        unit.rmdir()
        unit.symlink_to(elsewhere, target_is_directory=True)
        (folder / ".scratch" / f"resumes-{unit.name}").symlink_to(elsewhere, target_is_directory=True)
        (folder / ".scratch" / f"resumes-{unit.name}.lock").symlink_to(elsewhere / "file.txt")
        (folder / ".scratch" / f"{unit.name}-x").symlink_to(elsewhere, target_is_directory=True)
    (shown,) = (folder / "results").iterdir()
    shown.unlink()
    shown.symlink_to(elsewhere / "file.txt")
    before = snapshot(elsewhere)
    assert run(spec_of(folder, **ONE)).state == "complete"
    assert snapshot(elsewhere) == before
    assert all(tables(folder)[name].equals(first[name]) for name in first)


def test_a_lock_that_is_a_folder_is_told(stand_ins, tmp_path):
    claim(tmp_path / "run")
    (tmp_path / "run" / ".lock").mkdir()
    with pytest.raises(ProbeError, match="a folder"):
        run(spec_of(tmp_path / "run", **ONE))


def test_a_run_may_lie_behind_a_link_that_the_user_named(stand_ins, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk", target_is_directory=True)
    assert run(spec_of(tmp_path / "run", **ONE)).state == "complete"
    assert (tmp_path / "disk" / "report.html").is_file()
