"""Whatever ends a job, and whenever: the same command goes on, and the tables come out the same."""

from __future__ import annotations

import ctypes
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from probe.errors import ProbeError
from probe.jobs.run.runner import run_job as run
from probe.jobs.spec.model import Spec
from tests.forked import begin
from tests.probe.jobs.asked import PAIR, same, spec_of, tables, text_of

pytestmark = pytest.mark.slow
KILLS = 12
ALONE = {**PAIR, "controls": False}
NEW_MOUNTS, NEW_USERS, AGAIN, RECURSIVELY, PRIVATE = 0x20000, 0x10000000, 0x20, 0x4000, 0x40000  # as Linux has them
TOUCHES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"}


def job(spec: Spec) -> int:
    return run(spec).exit_code


def job_touching(spec: Spec, told: Path, last: int | None) -> int:
    """A job that is killed as it is about to touch its folder for the `last` time, or that tells how often it did."""
    touched, inside = [], str(spec.output)

    def watch(event: str, given: tuple) -> None:
        if event not in TOUCHES or not any(str(each).startswith(inside) for each in given[:2]):
            return
        touched.append(event)
        if len(touched) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    code = run(spec).exit_code
    told.write_text(str(len(touched)))
    return code


def test_after_sigkill_whenever_it_touches_its_folder_the_tables_are_those_of_an_uninterrupted_run(stand_ins, tmp_path):
    """The stand-ins and one real measure; each job is killed, begun again and killed, until it gets to its end.

    The moments are counted in touches of the run folder (files opened, made, renamed, removed), so that they fall
    between any two of them, on a slow machine as on a quick one.
    """
    wanted = {"pairs": [ALONE], "tasks": ["ioi"], "measures": ["mean", "across", "heads"]}
    told, folder = tmp_path / "touches", tmp_path / "run"
    whole = begin(job_touching, spec_of(tmp_path / "whole", **wanted), told, None)
    whole.join()
    assert whole.exitcode == 0
    expected, touches = tables(tmp_path / "whole"), int(told.read_text())
    assert len(expected) == 3
    assert touches > 100
    moments, kills, finished = random.Random(0), 0, 0
    while kills < KILLS or finished == 0:
        last = moments.randint(1, touches // 3) if kills < KILLS else None
        process = begin(job_touching, spec_of(folder, **wanted), told, last)
        process.join()
        if process.exitcode == -signal.SIGKILL:
            kills += 1
            continue
        assert process.exitcode == 0
        assert same(tables(folder), expected)
        assert list((folder / ".scratch").glob("*-*")) == []
        finished += 1
        if kills < KILLS:
            shutil.rmtree(folder)
    assert kills == KILLS


SIZES = ("48k", "160k", "256k", "400k", "2m", "32m")  # of a disk that grows; a whole run takes about 6 MB


def job_on_a_small_disk(spec: Spec, disk: Path, kept: Path) -> None:
    """The same job on a disk of its own, which is full in the middle of it and then has more room, again and again."""
    resize = small_disk(disk, SIZES[0])
    states = []
    for size in SIZES:
        resize(size)
        try:
            summary = run(spec)
            states.append((summary.state, summary.counts["done"], summary.why))
        except ProbeError as told:
            states.append(("told", 0, told.found))
        units = list((disk / "run" / "units").iterdir()) if (disk / "run" / "units").is_dir() else []
        assert all((unit / "unit.json").stat().st_size for unit in units), size  # none of them is half there
    (kept / "states.json").write_text(json.dumps(states))
    shutil.copytree(disk / "run", kept / "run", symlinks=True)


def small_disk(place: Path, size: str):
    """A tmpfs that this process alone sees, and what gives it another size."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    assert libc.unshare(NEW_MOUNTS | (0 if user == 0 else NEW_USERS)) == 0, os.strerror(ctypes.get_errno())
    if user:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path("/proc/self", name).write_text(text)

    def mount(kind: bytes | None, where: str, flags: int, data: str = "") -> None:
        assert libc.mount(b"none", where.encode(), kind, flags, data.encode()) == 0, os.strerror(ctypes.get_errno())

    mount(None, "/", PRIVATE | RECURSIVELY)
    mount(b"tmpfs", str(place), 0, f"size={size}")
    return lambda other: mount(b"tmpfs", str(place), AGAIN, f"size={other}")


def test_a_full_disk_ends_the_run_and_the_next_goes_on(stand_ins, tmp_path):
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    kept.mkdir()
    process = begin(job_on_a_small_disk, spec_of(disk / "run"), disk, kept)
    process.join()
    assert process.exitcode == 0
    states = json.loads((kept / "states.json").read_text())
    stopped = [done for state, done, _ in states if state == "stopped"]
    assert len(stopped) >= 2
    assert max(stopped) > 0
    assert all("No space left on device" in why for _, _, why in states[:-1]), states
    assert states[-1][0] == "complete"
    run(spec_of(tmp_path / "whole"))
    assert same(tables(kept / "run"), tables(tmp_path / "whole"))


def test_a_process_that_dies_is_replaced_and_its_unit_done_again(stand_ins, tmp_path):
    spec = spec_of(tmp_path / "run", measures=["suicidal", "mean"], tasks=["ioi"], budget={"workers": 1})
    summary = run(spec)
    assert summary.state == "complete"
    assert stand_ins()["suicidal/zoo:masked/ioi/prefix/0"] == 2
    told = json.loads((tmp_path / "run" / "manifest.json").read_text())["units"]
    assert any("computed again elsewhere" in note for unit in told for note in unit["notes"])
    run(spec_of(tmp_path / "alone", measures=["mean"], tasks=["ioi"]))
    alone = tables(tmp_path / "alone")
    assert same({name: table for name, table in tables(tmp_path / "run").items() if name in alone}, alone)


def test_a_unit_that_always_kills_its_process_fails_and_the_others_do_not(stand_ins, tmp_path):
    asked = [{"measure": "suicidal", "times": 99}, "mean"]
    summary = run(spec_of(tmp_path / "run", measures=asked, tasks=["ioi"], budget={"workers": 1}))
    assert summary.exit_code == 1
    (error,) = summary.failures.values()
    assert error["kind"] == "Lost"
    assert set(tables(tmp_path / "run")) == {"mean__zoo-masked__ioi__prefix__0"}


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_ends_cleanly_with_130_and_leaves_no_process(stand_ins, tmp_path, monkeypatch, end):
    """As at a terminal: the signal reaches the whole group, workers too."""
    monkeypatch.setenv("STAND_IN_PAUSE", "0.3")
    (tmp_path / "spec.yaml").write_text(text_of(tmp_path / "run", seeds=[0, 1], budget={"workers": 2}))
    printed = tmp_path / "out", tmp_path / "err"
    process = begin(command_line, ["run", str(tmp_path / "spec.yaml")], *printed)
    while not stand_ins():  # a unit is being done
        assert process.exitcode is None
        time.sleep(0.02)
    os.killpg(process.pid, end)
    process.join()
    told, wrong = (file.read_text() for file in printed)
    assert process.exitcode == 130, (told, wrong)
    assert "interrupted" in told
    assert "Traceback" not in told + wrong
    assert "\x1b" not in told + wrong  # quiet, and without colours, where nobody looks
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["state"] == "interrupted"
    assert manifest["counts"]["missing"] > 0
    assert _left(process.pid) == []


def test_many_interruptions_are_one(stand_ins, tmp_path, monkeypatch):
    """Somebody impatient holds Ctrl-C down."""
    monkeypatch.setenv("STAND_IN_PAUSE", "0.3")
    (tmp_path / "spec.yaml").write_text(text_of(tmp_path / "run", seeds=[0, 1], budget={"workers": 2}))
    printed = tmp_path / "out", tmp_path / "err"
    process = begin(command_line, ["run", str(tmp_path / "spec.yaml")], *printed)
    while not stand_ins():
        assert process.exitcode is None
        time.sleep(0.02)
    for _ in range(40):
        if process.exitcode is not None:
            break
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.02)
    process.join()
    told, wrong = (file.read_text() for file in printed)
    assert process.exitcode == 130, (told, wrong)
    assert "Traceback" not in told + wrong
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["state"] == "interrupted"
    assert _left(process.pid) == []


def command_line(words: list[str], out: Path, err: Path) -> None:
    """The command's entry point at the head of a group of its own, its output in files."""
    from probe import cli

    os.setsid()
    # A shell's background jobs are begun with Ctrl-C ignored, and so would be what tests in one begin.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = ["twinprobe", *words]
    cli.main()


def _left(group: int) -> list[int]:
    """The processes of a group that are still there, after a moment to go."""
    until = time.monotonic() + 60
    while True:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                state, _, pgrp = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(pgrp) == group and state != "Z":
                found.append(int(folder.name))
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.05)


def test_a_killed_job_takes_its_processes_along(stand_ins, tmp_path, monkeypatch):
    monkeypatch.setenv("STAND_IN_PAUSE", "0.3")
    process = begin(job_of_a_group, spec_of(tmp_path / "run", seeds=[0, 1], budget={"workers": 2}))
    while not stand_ins():
        assert process.exitcode is None
        time.sleep(0.02)
    process.kill()
    process.join()
    assert _left(process.pid) == []  # nobody goes on
    monkeypatch.setenv("STAND_IN_PAUSE", "0")
    assert run(spec_of(tmp_path / "run", seeds=[0, 1])).state == "complete"
    run(spec_of(tmp_path / "whole", seeds=[0, 1]))
    assert same(tables(tmp_path / "run"), tables(tmp_path / "whole"))


def job_of_a_group(spec: Spec) -> int:
    os.setsid()
    return job(spec)
