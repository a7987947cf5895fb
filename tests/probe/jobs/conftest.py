"""Stand-in stages beside the real ones, for every test of jobs that asks for them; and a run of them to start from."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from probe.jobs.run import code_hash
from probe.jobs.run.runner import run_job
from probe.jobs.stages import registry
from tests.probe.jobs.asked import spec_of
from tests.probe.jobs.stand_ins import COUNTS, NAMED

ROOT = Path(__file__).parents[3]
_of_file = code_hash._of_file
_first_read = cache(_of_file)


def _as_this_process_has_it(file: Path) -> str:
    """The hash of a file of code; of this checkout's, as it was when it was first asked for. Someone may edit the
    checkout while its tests run. A job rightly refuses units of other code, and verify tells that it is other code."""
    return _first_read(file) if file.is_relative_to(ROOT) else _of_file(file)


def _put_beside(patched: pytest.MonkeyPatch, counts: Path) -> None:
    counts.mkdir(exist_ok=True)
    patched.setattr(code_hash, "_of_file", _as_this_process_has_it)
    patched.setenv(registry.VARIABLE, NAMED)
    patched.setenv(COUNTS, str(counts))
    registry.stages.cache_clear()


@pytest.fixture
def stand_ins(monkeypatch, tmp_path) -> Iterator[Callable[[], dict[str, int]]]:
    """The stand-ins, and a function that says how often a unit was begun."""
    counts = tmp_path / "counts"
    _put_beside(monkeypatch, counts)

    def begun() -> dict[str, int]:
        return {file.name.replace("|", "/"): len(file.read_text()) for file in counts.iterdir()}

    yield begun
    registry.stages.cache_clear()


@pytest.fixture(scope="session")
def run_once(tmp_path_factory) -> Path:
    """A folder with a complete run of `spec_of`'s job, and how often its units were begun. It is only copied from."""
    root = tmp_path_factory.mktemp("run_once")
    with pytest.MonkeyPatch.context() as patched:
        _put_beside(patched, root / "counts")
        summary = run_job(spec_of(root / "run"))
    registry.stages.cache_clear()
    assert summary.state == "complete", summary.why
    return root


@pytest.fixture
def finished(run_once, stand_ins, tmp_path) -> Path:
    """`tmp_path / "run"`, in which `spec_of(tmp_path / "run")` was run to its end."""
    shutil.copytree(run_once, tmp_path, symlinks=True, dirs_exist_ok=True)
    return tmp_path / "run"
