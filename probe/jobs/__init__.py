"""Batch jobs: a spec goes in, a report comes out, on one machine or on a cluster.

    spec = read_spec("spec.yaml")          # checked; every error is reported with its line
    summary = run_job(spec)                # does what is missing in spec.output; summary.exit_code
    open_run(spec.output)                  # the folder: units, tables, figures, manifest

Four packages, in the order in which a job uses them:

    spec/      the YAML file and its fields
    stages/    the kinds of work: pools, circuits, measures; found by entry points
    run/       from the spec to finished units on disk
    report/    from a run folder to report.html, and the comparison of two runs
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from probe.lazy import lazy

if TYPE_CHECKING:
    from probe.jobs.run.plan import Plan, plan_of
    from probe.jobs.run.runner import Summary, run_job
    from probe.jobs.run.verify import verify
    from probe.jobs.run_folder import RunFolder, open_run
    from probe.jobs.spec.file import parse_spec, read_spec
    from probe.jobs.spec.model import Spec
    from probe.jobs.stages.stage import Stage

__all__ = [  # noqa: RUF022  (in the order in which they are used)
    "Spec",
    "read_spec",
    "parse_spec",
    "Plan",
    "plan_of",
    "run_job",
    "Summary",
    "open_run",
    "RunFolder",
    "verify",
    "Stage",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "run.plan": ("Plan", "plan_of"),
        "run_folder": ("RunFolder", "open_run"),
        "run.runner": ("Summary", "run_job"),
        "run.verify": ("verify",),
        "spec.file": ("parse_spec", "read_spec"),
        "spec.model": ("Spec",),
        "stages.stage": ("Stage",),
    },
)
