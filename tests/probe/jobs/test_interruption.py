"""Whatever ends a job, and whenever: the same command goes on, and the tables come out the same."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from probe.jobs.runner import run
from probe.jobs.spec import Spec
from tests.probe.jobs.asked import same, spec_of, tables, text_of

KILLS = 22
# A server that has imported what takes long, and from which jobs are forked in milliseconds.
FORKED = get_context("forkserver")
FORKED.set_forkserver_preload(["probe.jobs.runner", "probe.models.loading", "analyses.measures", "plotly", __name__])


def job(spec: Spec, environment: dict[str, str], limits: dict[int, int] | None = None) -> None:
    """What a process of its own does: a job, and its exit code."""
    import resource

    os.environ.update(environment)
    for kind, limit in (limits or {}).items():
        resource.setrlimit(kind, (limit, resource.RLIM_INFINITY))
    raise SystemExit(run(spec).exit_code)


def begun(spec: Spec, limits: dict[int, int] | None = None):
    process = FORKED.Process(target=job, args=(spec, dict(os.environ), limits))
    process.start()
    return process


def test_after_sigkill_at_random_moments_the_tables_are_those_of_an_uninterrupted_run(stand_ins, tmp_path, monkeypatch):
    """The stand-ins and one real measure; each job is killed, begun again and killed, until it gets to its end."""
    monkeypatch.setenv("STAND_IN_PAUSE", "0.01")
    wanted = {"measures": ["mean", "across", "heads"]}
    clock = time.monotonic()
    whole = begun(spec_of(tmp_path / "whole", **wanted))
    whole.join()
    takes = time.monotonic() - clock
    assert whole.exitcode == 0
    expected = tables(tmp_path / "whole")
    assert len(expected) == 2 * 2 + 1
    moments, kills, finished = random.Random(0), 0, 0
    while kills < KILLS or finished == 0:
        process = begun(spec_of(tmp_path / "run", **wanted))
        process.join(moments.uniform(0.05, 0.6) * takes if kills < KILLS else None)
        if process.exitcode is None:
            process.kill()
            process.join()
            kills += 1
            continue
        assert process.exitcode == 0
        assert same(tables(tmp_path / "run"), expected)
        assert list((tmp_path / "run" / ".scratch").glob("*-*")) == []
        finished += 1
        if kills < KILLS:
            shutil.rmtree(tmp_path / "run")
    assert kills == KILLS


def test_a_full_disk_ends_the_run_and_the_next_goes_on(stand_ins, tmp_path):
    """No file may grow beyond a few kilobytes: as on a full disk, the kernel says so in the middle of a write."""
    import resource

    process = begun(spec_of(tmp_path / "run"), {resource.RLIMIT_FSIZE: 3_000})
    process.join()
    assert process.exitcode == 1
    whole = [folder for folder in (tmp_path / "run" / "units").iterdir() if (folder / "unit.json").exists()]
    assert len(whole) == len(list((tmp_path / "run" / "units").iterdir()))
    assert run(spec_of(tmp_path / "run")).state == "complete"
    run(spec_of(tmp_path / "whole"))
    assert same(tables(tmp_path / "run"), tables(tmp_path / "whole"))


def test_a_process_that_dies_is_replaced_and_its_unit_done_again(stand_ins, tmp_path):
    spec = spec_of(tmp_path / "run", measures=["suicidal", "mean"], tasks=["ioi"], budget={"workers": 1})
    summary = run(spec)
    assert summary.state == "complete"
    assert stand_ins()["suicidal/zoo:tiny-masked/ioi/prefix/0"] == 2
    told = json.loads((tmp_path / "run" / "manifest.json").read_text())["units"]
    assert any("done again elsewhere" in note for unit in told for note in unit["notes"])
    run(spec_of(tmp_path / "alone", measures=["mean"], tasks=["ioi"]))
    alone = tables(tmp_path / "alone")
    assert same({name: table for name, table in tables(tmp_path / "run").items() if name in alone}, alone)


def test_a_unit_that_always_kills_its_process_fails_and_the_others_do_not(stand_ins, tmp_path):
    asked = [{"measure": "suicidal", "times": 99}, "mean"]
    summary = run(spec_of(tmp_path / "run", measures=asked, tasks=["ioi"], budget={"workers": 1}))
    assert summary.exit_code == 1
    (error,) = summary.failures.values()
    assert error["kind"] == "Lost"
    assert set(tables(tmp_path / "run")) == {"mean__zoo-tiny-masked__ioi__prefix__0"}


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_cleanly_with_130_and_leaves_no_process(stand_ins, tmp_path, monkeypatch, end):
    """As at a terminal: the signal reaches the whole group, workers too."""
    monkeypatch.setenv("STAND_IN_PAUSE", "0.3")
    (tmp_path / "spec.yaml").write_text(text_of(tmp_path / "run", seeds=[0, 1], budget={"workers": 2}))
    command = [Path(sys.executable).with_name("twinprobe"), "run", str(tmp_path / "spec.yaml")]
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
        # A shell's background jobs are begun with Ctrl-C ignored, and so would be what tests in one begin.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        while not stand_ins():  # a unit is being done
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, end)
        told, wrong = process.communicate(timeout=60)
    assert process.returncode == 130, (told, wrong)
    assert "interrupted" in told
    assert "Traceback" not in told + wrong
    assert "\x1b" not in told + wrong  # quiet, and without colours, where nobody looks
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["state"] == "interrupted"
    assert manifest["counts"]["missing"] > 0
    assert _left(process.pid) == []


def _left(group: int) -> list[int]:
    """The processes of a group that are still there, after a moment to go."""
    until = time.monotonic() + 10
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
    spec = spec_of(tmp_path / "run", seeds=[0, 1], budget={"workers": 2})
    process = begun(spec)
    while not stand_ins():
        time.sleep(0.02)
    process.kill()
    process.join()
    time.sleep(1.0)
    before = stand_ins()
    time.sleep(1.0)
    assert stand_ins() == before  # nobody goes on
    monkeypatch.setenv("STAND_IN_PAUSE", "0")
    assert run(spec_of(tmp_path / "run", seeds=[0, 1])).state == "complete"
    run(spec_of(tmp_path / "whole", seeds=[0, 1]))
    assert same(tables(tmp_path / "run"), tables(tmp_path / "whole"))
