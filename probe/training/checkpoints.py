"""Checkpoints: where a training that was interrupted goes on."""

from __future__ import annotations

from pathlib import Path

from probe.errors import ProbeError
from probe.outside_files import FileKind

STATE = FileKind("trainer state", remedy="Delete that checkpoint, and resume from the one before.", finite=False)


def last_complete(folder: Path) -> str | None:
    """The newest complete checkpoint. The Trainer writes its state last; one without it is incomplete, and resuming
    from it would silently continue with a fresh optimizer."""
    whole = [file.parent for file in folder.glob("checkpoint-*/trainer_state.json") if _is_json(file)]
    newest = max(whole, key=lambda checkpoint: int(checkpoint.name.rpartition("-")[2]), default=None)
    return None if newest is None else str(newest)


def _is_json(file: Path) -> bool:
    try:
        STATE.object(file)
    except ProbeError:
        return False
    return True
