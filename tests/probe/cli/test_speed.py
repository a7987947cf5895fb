"""A command that only answers a question does not load what computes: processor time, and what was imported."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "pandas", "plotly", "xarray")
# What the command line imported, on the last line of what it says.
TELL = """
import atexit, sys
atexit.register(lambda: print("imported", *(name for name in {names} if name in sys.modules), file=sys.stderr))
sys.argv = ["twinprobe", *sys.argv[1:]]
from probe.cli import main
main()
"""
FAULTY = """\
pairs: [zoo:masked]
tasks: [ioy]
readings: [prefx]
measures: [front_lodaing]
budjet: {}
"""


def called(*words: str, folder: Path) -> tuple[float, int, str, list[str]]:
    """Processor seconds (the least of three, since other work on the machine lengthens some), exit code, words, heavy
    modules that were imported."""
    command = [sys.executable, "-c", TELL.format(names=HEAVY), *words]
    seconds, code = [], 0
    for _ in range(3):
        with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            process = subprocess.Popen(command, stdout=out, stderr=err, env=environment)
            _, status, used = os.wait4(process.pid, 0)
            code = process.returncode = os.waitstatus_to_exitcode(status)
            seconds.append(used.ru_utime + used.ru_stime)
    errors = (folder / "err").read_text()
    text, _, imported = errors.rpartition("imported")
    return min(seconds), code, (folder / "out").read_text() + text, imported.split()


def test_the_help_is_there_at_once(tmp_path):
    seconds, code, text, imported = called("--help", folder=tmp_path)
    assert (code, imported) == (0, [])
    assert "verify" in text
    assert seconds < 0.7


@pytest.mark.parametrize("verb", ["run", "demo"])
def test_the_faults_of_a_spec_are_told_at_once(tmp_path, verb):
    (tmp_path / "spec.yaml").write_text(FAULTY)
    words = {"run": ["run", str(tmp_path / "spec.yaml")], "demo": ["demo", "--set", "tasks=[ioy]"]}[verb]
    seconds, code, text, imported = called(*words, folder=tmp_path)
    assert (code, imported) == (2, [])
    assert "Did you mean" in text
    assert seconds < 1.5


def test_it_says_which_version_it_is():
    command = Path(sys.executable).with_name("twinprobe")
    said = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60)
    assert (said.returncode, said.stdout) == (0, f"twinprobe {version('twinprobe')}\n")
