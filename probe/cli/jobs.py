"""`init`, `run`, `verify` and `demo`: batch jobs, a spec in, a report out."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from probe.cli.run_progress import RunProgress
from probe.cli.screen import FAILED, Json, app, out
from probe.errors import ProbeError, nearest
from probe.jobs.spec.shipped import shipped, text_of
from probe.progress import duration

if TYPE_CHECKING:
    from probe.jobs.run.cost import Cost
    from probe.jobs.run.plan import Plan
    from probe.jobs.run.runner import Summary
    from probe.jobs.run.unit import Unit

Set = Annotated[list[str] | None, typer.Option("--set", help="Override a key of the spec, as key=value; repeatable.")]
Workers = Annotated[
    int | None, typer.Option(min=0, help="Worker processes; 0 works in this one. Default: one per core, or GPU.")
]
PLACES = ("local", "ray")


@app.command(epilog="Example: [cyan]twinprobe init my-job.yaml --like demo[/]")
def init(
    spec: Annotated[Path, typer.Argument(help="The file to write.")] = Path("spec.yaml"),
    pair: Annotated[str, typer.Option(help="The pair to study.")] = "zoo:masked",
    like: Annotated[
        str | None, typer.Option(help="A shipped spec to copy instead.", autocompletion=shipped, show_default=False)
    ] = None,
    slurm: Annotated[bool, typer.Option("--slurm", help="Also write slurm.sh, which runs it on a cluster.")] = False,
) -> None:
    """Write a commented spec, and the schema that lets an editor complete and check it."""
    from probe.jobs.spec.template import write_slurm, write_template

    for file in [*write_template(spec, pair, like=like), *([write_slurm(spec)] if slurm else [])]:
        out.print(Text(f"wrote {file}"))
    out.print(Text(f"look at its plan with: twinprobe run {spec} --dry-run"))


@app.command(epilog="Example: [cyan]twinprobe specs[/], then [cyan]twinprobe run demo --dry-run[/]")
def specs(as_json: Json = False) -> None:
    """List the shipped specs, which `run` and `init --like` take by name, and the question of each."""
    from probe.jobs.spec.file import FILE

    known = {name: FILE.yaml_of(text_of(name), name) for name in shipped()}
    if as_json:
        print(json.dumps(known, indent=1, ensure_ascii=False))
        return
    table = Table(box=box.SIMPLE)
    for heading in ("name", "what it asks", "of"):
        table.add_column(heading, overflow="fold")
    for name, spec in known.items():
        sizes = ", ".join(f"{len(spec[axis])} {axis}" for axis in ("pairs", "tasks", "measures"))
        table.add_row(Text(name, style="bold"), Text(spec.get("question", "")), Text(sizes))
    out.print(table)


@app.command(epilog="Example: [cyan]twinprobe run spec.yaml --set budget.examples=64 --dry-run[/]")
def run(
    spec: Annotated[
        Path,
        typer.Argument(
            help="A spec, the folder of an earlier run, or the name of a shipped spec (see `twinprobe specs`).",
            autocompletion=shipped,
            show_default=False,
        ),
    ],
    folder: Annotated[Path | None, typer.Option("--out", help="The run folder, instead of the spec's.")] = None,
    override: Set = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost.")] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="With --dry-run: measure the cost on a few prompts of the real models.")
    ] = False,
    on: Annotated[str, typer.Option(help="local, or ray for a cluster.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Address of the Ray cluster; default: one on this machine.")
    ] = None,
    workers: Workers = None,
    only: Annotated[str | None, typer.Option(help="Only units whose name matches, such as 'front_loading/*'.")] = None,
    as_json: Json = False,
) -> None:
    """Run a job; the same command again does only what is missing or changed.

    Exit codes: 0 all is done, 1 something failed or was left out, 2 the spec cannot be used, 130 interrupted.
    """
    from probe.jobs.spec.file import read_spec

    if on not in PLACES:
        raise ProbeError("--on", expected=" or ".join(PLACES), found=repr(on), remedy=nearest(on, PLACES))
    at = folder or (spec if (spec / "spec.yaml").is_file() else None)
    read = read_spec(spec, [*(override or ()), *_output(at)])
    if dry_run:
        _show_plan(read, as_json, measure=measure)
        return
    if measure:
        raise ProbeError("--measure", expected="--dry-run beside it", found="a run", remedy="Add --dry-run.")
    _run(read, _again(str(spec), folder, override), as_json, on=on, address=address, workers=workers, only=only)


def _output(folder: Path | None) -> list[str]:
    return [f"output={json.dumps(str(folder))}"] if folder else []


def _again(spec: str, folder: Path | None, override: list[str] | None) -> str:
    """The command that repeats a run."""
    out = ["--out", str(folder)] if folder else []
    said = [word for each in override or () for word in ("--set", each)]
    return shlex.join(["twinprobe", "run", spec, *out, *said])


@app.command(epilog="Example: [cyan]twinprobe demo[/]")
def demo(
    folder: Annotated[Path, typer.Option("--out", help="The run folder.")] = Path("runs/demo"),
    override: Set = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Run all analyses on the shipped twins and write a report, in a few minutes."""
    from probe.jobs.spec.file import parse_spec

    read = parse_spec(text_of("demo"), "the shipped spec demo", [*_output(folder), *(override or ())])
    _run(read, _again("demo", folder, override), as_json, workers=workers)


@app.command(epilog="Example: [cyan]twinprobe verify runs/demo --sample 5[/]")
def verify(
    folder: Annotated[Path, typer.Argument(help="A run folder.", show_default=False)],
    sample: Annotated[int, typer.Option(min=0, help="How many units to compute again and compare.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Decides which.")] = 0,
    as_json: Json = False,
) -> None:
    """Check a run: every file by its hash, the weights, and a sample of its units, computed again."""
    from probe.jobs.run.verify import verify as checked

    findings = checked(folder, sample=sample, seed=seed, tell=lambda words: _whisper(words, as_json))
    troubled = [finding for finding in findings if finding.trouble]
    if as_json:
        print(json.dumps([vars(finding) for finding in findings], indent=1, ensure_ascii=False))
    else:
        _print_findings(findings)
    if troubled:
        raise typer.Exit(FAILED)


def _print_findings(findings: list[Any]) -> None:
    troubled = [finding for finding in findings if finding.trouble]
    table = Table(box=box.SIMPLE)
    table.add_column("checked", overflow="fold")
    table.add_column("found", overflow="fold")
    again = [finding for finding in findings if finding.what.startswith("made again")]
    for finding in troubled + [finding for finding in again if not finding.trouble]:
        table.add_row(Text(finding.what), Text(finding.trouble or "the same", style="red" if finding.trouble else ""))
    if table.row_count:
        out.print(table)
    out.print(Text(f"{len(findings)} things checked, {len(troubled)} with problems"))


def _whisper(words: str, as_json: bool) -> None:
    if not as_json and sys.stderr.isatty():
        Console(stderr=True).print(Text(words, style="dim"))


# Running


def _run(spec: Any, command: str, as_json: bool, **how: Any) -> None:
    from probe.jobs.run.runner import run_job

    summary = run_job(spec, command=command, watcher=None if as_json else RunProgress(), **how)
    if as_json:
        print(json.dumps(_as_data(summary), indent=1, ensure_ascii=False))
    else:
        _print_summary(summary)
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)


def _as_data(summary: Summary) -> dict[str, Any]:
    data = {**vars(summary), "exit_code": summary.exit_code}
    return {key: str(value) if isinstance(value, Path) else value for key, value in data.items()}


def _print_summary(summary: Summary) -> None:
    for name, error in summary.failures.items():
        out.print(Text.assemble(("failed ", "bold red"), f"{name}: {error['kind']}: {error['message']}"))
    counts = summary.counts
    fresh = counts["done"] - summary.cached
    words = f"{summary.state}: {fresh} units done in {summary.seconds:.0f} s, {summary.cached} were there already"
    words += "".join(f", {counts[status]} {status}" for status in ("failed", "missing") if counts[status])
    out.print(Text(words))
    if summary.why:
        out.print(Text(summary.why))
    if summary.report:
        _print_answer(summary.answer, summary.report)


def _print_answer(answer: tuple[str, ...], report: Path) -> None:
    """The findings, and what to do next; the path of the report is the last line."""
    for sentence in answer:
        out.print(Text(f"  {sentence}"))
    folder = shlex.quote(str(report.parent))
    nexts = Table.grid(padding=(0, 2))
    for command, what in (
        (f"streamlit run app/main.py -- {folder}", "look around in it (with the extra `app`, in a clone)"),
        ("twinprobe init mine.yaml --like demo", "a job of your own"),
    ):
        nexts.add_row(Text(f"  {command}"), Text(what, style="dim"))
    out.print(nexts)
    out.print(Text(str(report)), soft_wrap=True)  # to be copied, or read by a script, as a whole


# The plan


def _show_plan(spec: Any, as_json: bool, *, measure: bool = False) -> None:
    from probe.jobs.run.cost import estimates, lengths
    from probe.jobs.run.plan import plan_of
    from probe.jobs.run.same_question import same_questions
    from probe.jobs.run.unit_store import UnitStore

    store, plan = UnitStore(spec.output), plan_of(spec)
    costs = estimates(plan, store, lengths(plan))
    if measure:
        from probe.jobs.run.calibration import measured

        _whisper("measuring on a few prompts", as_json)
        costs = measured(spec, plan, costs)
    left = [unit for unit in plan if store.damage(unit.hash) is not None]
    if as_json:
        rows = [{"id": unit.id, "hash": unit.hash, "done": unit not in left, "models": _roles(plan, unit),
                 **vars(costs[unit.hash])} for unit in plan]  # fmt: skip
        told = {"units": rows, "skipped": dict(plan.skipped), "total": _total(left, costs)}
        told["same_questions"] = [vars(alike) for alike in same_questions(plan)]
        print(json.dumps(told, indent=1, ensure_ascii=False))
        return
    out.print(_plan_table(plan, left, costs))
    for name, why in plan.skipped.items():
        out.print(Text(f"left out {name}: {why}", style="dim"))
    for alike in same_questions(plan):
        out.print(Text(f"{alike}; leave one of them out, unless other tasks need it", style="yellow"))
    total = _total(left, costs)
    out.print(
        Text(
            f"{len(left)} of {len(plan)} units to do in {spec.output}: "
            f"about {duration(total['seconds'])} on one worker, "
            f"{_bytes(total['memory'])} of memory a worker, {_bytes(total['disk'])} on disk"
        )
    )


def _plan_table(plan: Plan, left: list[Unit], costs: dict[str, Cost]) -> Table:
    """One row per stage: how many units, and about what they cost."""
    table = Table(box=box.SIMPLE)
    for heading in ("stage", "units", "to do", "models", "time", "memory", "disk"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for label in dict.fromkeys(unit.label for unit in plan):
        mine = [unit for unit in plan if unit.label == label]
        undone = [unit for unit in left if unit.label == label]
        total = _total(undone, costs)
        figures = (
            (duration(total["seconds"]), _bytes(total["memory"]), _bytes(total["disk"])) if undone else ("", "", "")
        )
        models = str(max((len(_roles(plan, unit)) for unit in undone), default="") or "")
        table.add_row(*map(Text, (label, str(len(mine)), str(len(undone)), models, *figures)))
    return table


def _roles(plan: Plan, unit: Unit) -> list[str]:
    """The models that are in memory for a unit, by role."""
    from probe.jobs.run.cost import models_of

    return [model.role for model in models_of(plan, unit)]


def _total(units: list[Unit], costs: dict[str, Cost]) -> dict[str, float]:
    mine = [costs[unit.hash] for unit in units]
    memory = max((cost.memory for cost in mine), default=0)
    return {"seconds": sum(cost.seconds for cost in mine), "memory": memory, "disk": sum(cost.disk for cost in mine)}


def _bytes(size: float) -> str:
    from probe.tracing.cost import readable

    return readable(size)
