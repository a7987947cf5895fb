"""Batch jobs: a spec goes in, a report comes out, on one machine or on a cluster.

    spec = read_spec("spec.yaml")          # checked; every fault is told with its line
    summary = run(spec)                    # does what is missing in spec.output; summary.exit_code
    open_run(spec.output)                  # the folder: units, tables, figures, manifest

Four rooms, in the order in which a job passes through them:

    spec/      the YAML file, and what may stand in it
    stages/    the kinds of work there are: pools, circuits, measures; found by entry points
    run/       from the spec to finished units on disk
    report/    from a run folder to report.html, and the comparison of two runs
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probe.jobs.run.plan import Plan, plan_of
    from probe.jobs.run.runner import Summary, run
    from probe.jobs.run.verify import verify
    from probe.jobs.run_folder import RunFolder, open_run
    from probe.jobs.spec.file import parse_spec, read_spec
    from probe.jobs.spec.model import Spec
    from probe.jobs.stages.stage import Stage

_HOMES = {
    **dict.fromkeys(("Plan", "plan_of"), "run.plan"),
    **dict.fromkeys(("RunFolder", "open_run"), "run_folder"),
    **dict.fromkeys(("Summary", "run"), "run.runner"),
    **dict.fromkeys(("parse_spec", "read_spec"), "spec.file"),
    "Spec": "spec.model",
    "verify": "run.verify",
    "Stage": "stages.stage",
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
    "Stage",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"probe.jobs.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'probe.jobs' has no attribute {name!r}")
