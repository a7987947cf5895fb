"""Figures of a run: one for each table, drawn from that table alone.

A figure is drawn again if its table or the drawing code changes. If drawing fails, the run keeps the numbers and
continues without the figure.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from probe.errors import ProbeError
from probe.jobs.atomic import write_atomically
from probe.jobs.run.unit_store import UnitStore
from probe.jobs.run_folder import FIGURE


def draw(store: UnitStore, digest: str, stem: str, serializer: Any) -> None:
    """Write the figure of a unit's table, unless it is up to date."""
    file = store.root / "figures" / f"{stem}.json"
    if not hasattr(serializer, "figure") or _shows(file, mark := _mark(digest, serializer)):
        return
    figure = FIGURE.object_of(serializer.figure(store.folder(digest)), store.folder(digest))
    figure.setdefault("layout", {}).setdefault("meta", {})["twinprobe"] = mark
    write_atomically(file, json.dumps(figure))


def _mark(digest: str, serializer: Any) -> str:
    """What a figure depends on: the unit, and the drawing code."""
    return hashlib.sha256(f"{digest} {serializer.code()}".encode()).hexdigest()[:16]


def _shows(file: Path, mark: str) -> bool:
    try:
        return FIGURE.object(file)["layout"]["meta"]["twinprobe"] == mark
    except (ProbeError, KeyError, TypeError):
        return False
