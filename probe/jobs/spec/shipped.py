"""Shipped specs: jobs that run by name, each a YAML file in the folder `shipped_specs`.

    twinprobe run circuits                        runs probe/jobs/spec/shipped_specs/circuits.yaml
    twinprobe init my-job.yaml --like circuits    writes a copy of it, to change

A file or a run folder of that name takes precedence.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from probe.errors import ProbeError, nearest

_HERE = files("probe.jobs.spec").joinpath("shipped_specs")
_SUFFIX = ".yaml"


def shipped() -> list[str]:
    """The names of the shipped specs."""
    return sorted(file.name.removesuffix(_SUFFIX) for file in _HERE.iterdir() if file.name.endswith(_SUFFIX))


def text_of(name: str) -> str:
    """The text of a shipped spec."""
    if name not in shipped():
        beside = [file.name for file in Path.cwd().glob(f"*{_SUFFIX}")]
        raise ProbeError(
            f"spec {name!r}",
            expected="a spec's file, the folder of a run, or a shipped spec: " + ", ".join(shipped()),
            found="none of that name",
            remedy=nearest(name, [*shipped(), *beside]),
        )
    return _HERE.joinpath(f"{name}{_SUFFIX}").read_text("utf-8")


def means_shipped(said: str | Path) -> bool:
    """Whether a word means a shipped spec: it has no suffix, and no file or run folder has that name."""
    path = Path(said)
    try:
        there = path.is_file() or (path / "spec.yaml").is_file()
    except (OSError, ValueError):  # longer than a file's name can be, or with a null in it
        return False
    return str(said) == path.stem and not there
