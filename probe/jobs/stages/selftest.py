"""The self-tests of each model, as a stage: run once in a job, not at every load in every process.

A model that does not behave as declared fails here, and everything that needs it fails with it.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.jobs.stages.stage import UNIT, Stage

if TYPE_CHECKING:
    from probe.jobs.stages.stage import Inputs

_FILE = "findings.json"


def _check(given: Inputs) -> list[dict[str, Any]]:
    from probe.models.selftests import refuse_failures, run_selftests

    tests = run_selftests(given.model, full=False)
    refuse_failures(given.model, tests)
    return [asdict(finding) for finding in tests.findings]


class FindingsSerializer:
    """The finding of each test."""

    def save(self, product: list[dict[str, Any]], folder: Path) -> None:
        (folder / _FILE).write_text(json.dumps(product, indent=1, ensure_ascii=False), "utf-8")

    def open(self, folder: Path, given: Inputs) -> list[dict[str, Any]]:
        return UNIT.json(folder / _FILE)

    def difference(self, one: Path, other: Path) -> str | None:
        first, second = (
            [(finding["test"], finding["outcome"]) for finding in UNIT.json(folder / _FILE)] for folder in (one, other)
        )
        return None if first == second else f"{first}, then {second}"


CHECK = Stage(
    "check",
    "whether each model behaves as declared",
    _check,
    FindingsSerializer(),
    axes=("pair", "role"),
    passes=1.0,
)
