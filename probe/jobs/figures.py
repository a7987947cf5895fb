"""Figures of a run: one for each table, made from that table alone.

They show numbers and decide none, so they are made again whenever the table or the code that draws it has changed, and
a drawing that fails costs the figure, not the number.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from probe.jobs.store import Store, write_atomically


def draw(store: Store, digest: str, stem: str, form: Any) -> None:
    """Write the figure of a unit's table, unless the one that is there shows just that."""
    file = store.root / "figures" / f"{stem}.json"
    if not hasattr(form, "figure") or _shows(file, mark := _mark(digest, form)):
        return
    figure = json.loads(form.figure(store.folder(digest)))
    figure.setdefault("layout", {}).setdefault("meta", {})["twinprobe"] = mark
    write_atomically(file, json.dumps(figure))


def _mark(digest: str, form: Any) -> str:
    """What a figure is made of: the unit, and the code that draws."""
    return hashlib.sha256(f"{digest} {form.code()}".encode()).hexdigest()[:16]


def _shows(file: Path, mark: str) -> bool:
    try:
        return json.loads(file.read_text("utf-8"))["layout"]["meta"]["twinprobe"] == mark
    except (OSError, ValueError, KeyError, TypeError):
        return False
