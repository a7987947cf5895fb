"""Nothing of the user's is lost: not in a folder that looks like a run, not behind a link in one."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from probe.errors import ProbeError
from probe.jobs.atomic import is_leftover
from probe.jobs.own_folder import MARKER, claim
from probe.jobs.report.contents import contents
from probe.jobs.report.render import html, write_report
from probe.jobs.run.runner import run_job as run
from probe.jobs.run.verify import verify
from probe.jobs.run_folder import open_run
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


@pytest.mark.parametrize("name", [".lock", "spec.yaml", "manifest.json", "report.html"])
def test_a_hard_link_to_a_file_elsewhere_is_replaced_or_refused_and_never_written_through(
    stand_ins, tmp_path, elsewhere, name
):
    """The lock is the one file that a run writes into as it stands: it is refused, by its number of names."""
    folder = tmp_path / "run"
    claim(folder)
    (folder / name).hardlink_to(elsewhere / "file.txt")
    before = snapshot(elsewhere)
    if name == ".lock":
        with pytest.raises(ProbeError, match="a hard link"):
            run(spec_of(folder, **ONE))
    else:
        assert run(spec_of(folder, **ONE)).state == "complete"
    assert snapshot(elsewhere) == before


def test_a_lock_that_is_a_pipe_is_told_and_not_waited_for(stand_ins, tmp_path):
    claim(tmp_path / "run")
    os.mkfifo(tmp_path / "run" / ".lock")
    with pytest.raises(ProbeError, match="a pipe"):
        run(spec_of(tmp_path / "run", **ONE))


def test_a_stage_does_not_go_on_in_a_folder_with_hard_links(stand_ins, tmp_path, elsewhere):
    folder = tmp_path / "run"
    run(spec_of(folder, **ONE))
    left = folder / ".scratch" / f"resumes-{next((folder / 'units').iterdir()).name}"
    left.mkdir()
    (left / "half.bin").hardlink_to(elsewhere / "file.txt")
    before = snapshot(elsewhere)
    assert run(spec_of(folder, **ONE)).state == "complete"
    assert not left.exists()
    assert snapshot(elsewhere) == before


def test_what_a_kill_left_half_written_is_removed_by_the_next_run_and_listed_by_nothing(stand_ins, tmp_path):
    folder = tmp_path / "run"
    run(spec_of(folder, **ONE))
    left = [".manifest.json-a1b2c3d4", ".report.html-abcdefgh", ".part-manifest.json-x", "results/.part-7-a.parquet"]
    for name in (*left, ".mine", "results/.mine"):
        (folder / name).write_text("half")
    told = [finding.what for finding in verify(folder, sample=0)]
    assert not any(name in words for name in left for words in told)
    assert run(spec_of(folder, **ONE)).state == "complete"
    assert not any((folder / name).exists() for name in left)
    assert (folder / ".mine").read_text() == (folder / "results" / ".mine").read_text() == "half"


def test_a_kill_between_writing_and_naming_leaves_a_file_that_is_known(tmp_path):
    killed = "import os, sys; os.replace = lambda *_: os._exit(9); from pathlib import Path; "
    killed += "from probe.jobs.atomic import write_atomically; write_atomically(Path(sys.argv[1]), '{}')"
    ended = subprocess.run([sys.executable, "-c", killed, str(tmp_path / "manifest.json")], check=False)
    assert ended.returncode == 9
    (left,) = tmp_path.iterdir()
    assert is_leftover(left)


def test_a_report_into_a_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    folder = write_run(tmp_path / "run", units=[])

    def read_only(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "mkstemp", read_only)
    with pytest.raises(ProbeError, match="Read-only file system"):
        write_report(folder)


def test_a_figure_that_the_manifest_does_not_list_is_not_shown_and_verify_says_so(stand_ins, tmp_path):
    folder = tmp_path / "run"
    run(spec_of(folder, **ONE))
    manifest = json.loads((folder / "manifest.json").read_text())
    (unit,) = [unit for unit in manifest["units"] if unit.get("result")]
    (folder / "figures" / "forged.json").write_text('{"data": [], "layout": {"title": "forged"}}')
    unit["figure"] = "figures/forged.json"
    (folder / "report.md").write_text("forged")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    opened = open_run(folder)
    with pytest.raises(ProbeError, match="does not list"):
        opened.figure(opened.done[0])
    assert "forged" not in html(contents(opened))
    wrong = {finding.what: finding.trouble for finding in verify(folder, sample=0) if finding.trouble}
    assert {"file figures/forged.json", "file report.md"} <= wrong.keys()
