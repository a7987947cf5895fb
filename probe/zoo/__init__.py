"""The shipped models: a folder each, with weights, what is declared of them, and the recipe that makes them."""

from __future__ import annotations

from pathlib import Path

from probe.errors import CheckpointError, nearest

_HERE = Path(__file__).parent


def shipped() -> list[str]:
    """The names of the shipped models, as in zoo:NAME."""
    return sorted(file.parent.name for file in _HERE.glob("*/config.json"))


def zoo_folder(name: str) -> Path:
    """The folder of a shipped model."""
    folder = _HERE / name
    if name not in shipped():
        raise CheckpointError(
            f"zoo:{name}",
            expected="a shipped model",
            found="none of that name",
            remedy=nearest(f"zoo:{name}", [f"zoo:{known}" for known in shipped()]),
        )
    return folder
