"""The built wheel in an empty environment, away from the repository: it runs the demo with the shipped twins."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OUTSIDE = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "TWINPROBE", "STAND_IN"))}


def told(*command: str | Path, cwd: Path) -> str:
    run = subprocess.run([*map(str, command)], cwd=cwd, env=OUTSIDE, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.slow
def test_the_wheel_runs_the_demo_in_an_empty_environment(tmp_path):
    source = tmp_path / "source"
    kept = shutil.ignore_patterns(".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", "runs", "node_modules")
    for name in ("probe", "analyses", "app"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=kept)
    for name in ("pyproject.toml", "twinprobe.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    told(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, source, cwd=tmp_path)
    (wheel,) = tmp_path.glob("twinprobe-*.whl")
    shutil.rmtree(source)

    # An environment of nothing but the wheel; what it depends on is borrowed from here instead of downloaded again.
    empty = tmp_path / "empty"
    told(sys.executable, "-m", "venv", "--without-pip", empty, cwd=tmp_path)
    python = empty / "bin" / "python"
    told(*pip, "--python", python, "install", "--no-deps", wheel, cwd=tmp_path)
    own = Path(told(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    (own / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert told(python, "-c", "import twinprobe; print(twinprobe.__file__)", cwd=tmp_path).startswith(str(own))

    smaller = ["pairs=[zoo:masked]", "tasks=[ioi]", "measures=[front_loading, weight_drift]", "budget.examples=8"]
    options = [word for override in smaller for word in ("--set", override)]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    plan = json.loads(told(empty / "bin" / "twinprobe", "run", "demo", "--dry-run", "--json", cwd=elsewhere))
    assert len(plan["units"]) > 100  # all of it can be run from there: every twin, task and measure is in the wheel
    summary = json.loads(told(empty / "bin" / "twinprobe", "demo", "--json", "--workers", "0", *options, cwd=elsewhere))
    assert summary["state"] == "complete"
    assert summary["counts"]["failed"] == 0
    assert (elsewhere / summary["report"]).stat().st_size > 10_000
    assert len(list((elsewhere / "runs" / "demo" / "results").glob("*.parquet"))) == 2
