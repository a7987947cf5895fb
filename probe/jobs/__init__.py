"""Batch jobs: a spec in, a report out, on one machine or on a cluster.

spec = read_spec("spec.yaml")          # checked, with the line of every fault
summary = run(spec)                    # does what is missing in spec.output; summary.exit_code
open_run(spec.output)                  # the folder: units, tables, figures, manifest
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probe.jobs.plan import Plan, plan_of
    from probe.jobs.run_folder import RunFolder, open_run
    from probe.jobs.runner import Summary, run
    from probe.jobs.spec import Spec
    from probe.jobs.spec_file import parse_spec, read_spec
    from probe.jobs.verify import verify
    from probe.jobs.works import Work

_HOMES = {
    **dict.fromkeys(("Plan", "plan_of"), "plan"),
    **dict.fromkeys(("RunFolder", "open_run"), "run_folder"),
    **dict.fromkeys(("Summary", "run"), "runner"),
    **dict.fromkeys(("parse_spec", "read_spec"), "spec_file"),
    "Spec": "spec",
    "verify": "verify",
    "Work": "works",
}

__all__ = [  # noqa: RUF022  (in the order in which they are used)
    "Spec",
    "read_spec",
    "parse_spec",
    "Plan",
    "plan_of",
    "run",
    "Summary",
    "open_run",
    "RunFolder",
    "verify",
    "Work",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"probe.jobs.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'probe.jobs' has no attribute {name!r}")
