"""Cached self-tests: their findings are kept in the user's cache, by the hash of what was tested.

The tests of a shipped model take ten times as long as its load, and have the same outcome each time for the same files,
declaration and code. So findings are kept under a hash of everything that could change an outcome: every file of the
checkpoint, the paradigm, the catalog's row, the layout, dtype and device, the versions of torch and transformers, and
the sources of `probe.models` and `probe.paradigms`.

    remembered(model, source, make)        the cached findings, else make(), which is cached if nothing failed

A failure is never cached, so a corrected file or declaration is tested again. Nor are findings that involve a layout or
a paradigm of another package, whose code is not in the hash. Hashing reads the checkpoint once, which takes 5 ms for a
shipped model. `TWINPROBE_SELFTESTS=anew` always runs them, and so does `twinprobe check`.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.cache import cache_folder
from probe.errors import ProbeError
from probe.models.selftests.finding import FAIL, NOT_RUN, PASS, Finding, SelfTests
from probe.outside_files import FileKind

if TYPE_CHECKING:
    from probe.models.model import Model
    from probe.models.source import Source

FILE = FileKind("remembered self-tests", largest=1 << 20)
SWITCH, ANEW = "TWINPROBE_SELFTESTS", "anew"
FIELDS = ("test", "expected", "found", "outcome")


def remembered(model: Model, source: Source, make: Callable[[], SelfTests]) -> SelfTests:
    """The findings of a model's self-tests, from now or from an earlier load."""
    if os.environ.get(SWITCH) == ANEW or not _all_ours(model):
        return make()
    file = cache_folder() / "selftests" / f"{_hash(model, source)}.json"
    known = _read(file)
    if known is not None:
        return known
    found = make()
    if not found.failed:
        _keep(file, found)
    return found


def _all_ours(model: Model) -> bool:
    from probe.models.layout import LAYOUTS

    own = type(model.paradigm).__module__.startswith("probe.paradigms.")
    return own and model.layout in LAYOUTS.values()


def _hash(model: Model, source: Source) -> str:
    facts = {
        "files": sorted([file.name, _of_file(file)] for file in source.checkpoint.identifying_files()),
        "declared": source.entry.model_dump(mode="json") if source.entry else None,
        "paradigm": f"{type(model.paradigm).__name__} {model.paradigm!r}",
        "layout": repr(model.layout),
        "tokenizer": model.has_tokenizer,
        "computes": f"{model.dtype} on {model.device.type}",
        "code": _code(),
        **{name: version(name) for name in ("torch", "transformers")},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _of_file(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@cache
def _code() -> str:
    """A hash of the sources that load a model and run it."""
    root, found = Path(__file__).parents[2], hashlib.sha256()
    for file in sorted(file for room in ("models", "paradigms") for file in (root / room).rglob("*.*")):
        if file.suffix in (".py", ".yaml", ".txt"):
            found.update(f"{file.relative_to(root)} {_of_file(file)} ".encode())
    return found.hexdigest()


def _read(file: Path) -> SelfTests | None:
    """The findings in a file; None if there is no file, or an invalid one."""
    if not file.is_file():
        return None
    try:
        rows: Any = FILE.object(file).get("findings")
    except ProbeError:
        return None
    if not isinstance(rows, list) or not rows or not all(map(_is_finding, rows)):
        return None
    return SelfTests(tuple(Finding(*row) for row in rows))


def _is_finding(row: Any) -> bool:
    whole = isinstance(row, list) and len(row) == len(FIELDS) and all(isinstance(part, str) for part in row)
    return whole and row[-1] in (PASS, NOT_RUN)


def _keep(file: Path, tests: SelfTests) -> None:
    """Write the findings atomically. If the cache cannot be written, the model still loads."""
    rows = [[getattr(finding, name) for name in FIELDS] for finding in tests.findings if finding.outcome != FAIL]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            json.dump({"findings": rows}, opened)
        os.replace(part, file)
    except OSError:
        return
