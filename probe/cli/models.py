"""`check` and `catalog`: how models are declared, and whether they behave as declared."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from probe.cli.screen import FAILED, CatalogFile, Json, Where, app, out
from probe.outside_files import FileKind

TEXT = FileKind("text", largest=1 << 20)

if TYPE_CHECKING:
    from probe.models.catalog import Entry
    from probe.models.selftests import SelfTests


@app.command(epilog="Example: [cyan]twinprobe check zoo:masked[/]")
def check(
    where: Annotated[
        list[str] | None,
        typer.Argument(help="Models to check; default: all shipped ones.", show_default=False),
    ] = None,
    catalog: CatalogFile = None,
    paradigm: Annotated[str | None, typer.Option(help="Check as this paradigm instead of the declared one.")] = None,
    mask_id: Annotated[int | None, typer.Option(help="Its mask token.")] = None,
    shift: Annotated[
        bool | None, typer.Option("--shift/--no-shift", help="Whether slot i-1 predicts token i, or slot i.")
    ] = None,
    attention: Annotated[str | None, typer.Option(help="causal, full, block:N or masks_last.")] = None,
    text: Annotated[
        Path | None,
        typer.Option(help="A file with lines in the models' language, for the tests of attention and shift."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the load-time self-tests in full; exits with 1 if one fails."""
    from probe.models.loading import load
    from probe.models.selftests import run_selftests
    from probe.zoo import shipped

    sample = None if text is None else TEXT.text(text).splitlines()
    declared = {"paradigm": paradigm, "mask_id": mask_id, "shift": shift, "attention": attention, "catalog": catalog}
    tests: dict[str, SelfTests] = {}
    for place in where or [f"zoo:{name}" for name in shipped()]:
        model = load(place, selftest="off", **declared)
        tests[place] = run_selftests(model, sample=sample)
        if not as_json:
            out.print(_selftest_table(place, repr(model), tests[place]))
    if as_json:
        rows = {place: [vars(finding) for finding in found.findings] for place, found in tests.items()}
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    if any(found.failed for found in tests.values()):
        raise typer.Exit(FAILED)


OUTCOME_STYLES = {"pass": "green", "fail": "bold red", "not run": "yellow"}


def _selftest_table(place: str, described: str, tests: SelfTests) -> Table:
    table = Table(
        title=Text(place, style="bold"), caption=Text(described), title_justify="left", caption_justify="left"
    )
    for heading in ("test", "expected", "found"):
        table.add_column(heading, overflow="fold")
    table.add_column("outcome", no_wrap=True)
    for finding in tests.findings:
        cells = [Text(words) for words in (finding.test, finding.expected, finding.found)]
        table.add_row(*cells, Text(finding.outcome, style=OUTCOME_STYLES[finding.outcome]))
    return table


@app.command(epilog="Example: [cyan]twinprobe catalog --json[/]")
def catalog(catalog: CatalogFile = None, as_json: Json = False) -> None:
    """List every family that loads and what it was checked against, and how each known checkpoint is declared: its AR
    twin, mask, shift, attention and sampler."""
    from probe.models.catalog import entries
    from probe.models.families import families, refused

    rows = entries(catalog)
    if as_json:
        known = {
            "families": [asdict(family) for family in families()],
            "refused": refused(),
            "checkpoints": [row.model_dump(mode="json") for row in rows],
        }
        print(json.dumps(known, indent=1, ensure_ascii=False))
        return
    table = Table(title="families that load", title_justify="left", box=box.SIMPLE)
    for column in ("family", "model_type", "loads into", "checked against"):
        table.add_column(column, overflow="fold")
    for family in families():
        table.add_row(*map(Text, (family.name, family.model_type, family.stock, family.checked)))
    out.print(table)
    for model_type, reason in refused().items():
        out.print(Text(f"refused: {model_type}, because it has {reason}"))
    table = Table(title="how each checkpoint is declared", title_justify="left", box=box.SIMPLE)
    table.add_column("name, and the AR model it was made from", no_wrap=True)
    table.add_column("declared", overflow="fold")
    for row in rows:
        made_from = f"\n  from {row.ar}" if row.ar else ""
        looked_up = f"; checked against {row.checked}" if row.checked else ""
        table.add_row(Text(row.name + made_from), Text(_declaration(row) + looked_up))
    out.print(table)


def _declaration(row: Entry) -> str:
    attention = row.attention or row.to_paradigm(None).attention
    mask = f"mask {row.mask_id}" + (" (a word of text)" if row.mask_is_text else "")
    shift = "shift" if row.shift else "shift for clean tokens only" if row.clean_shift else "no shift"
    sampler = f"sampler {row.sampler}" if row.sampler else "no sampler of its own"
    return f"{row.paradigm}, {attention} attention; {mask}; {shift}; {sampler}"


@app.command(epilog="Example: [cyan]twinprobe card zoo:masked --write[/]")
def card(
    where: Where,
    n: Annotated[int, typer.Option("-n", min=1, help="Held-out questions per task.")] = 500,
    write: Annotated[bool, typer.Option("--write", help="Save it in the model's folder as README.md.")] = False,
) -> None:
    """Print a model's card: what it is, how it was made, and how well it answers, measured now."""
    from probe.models.source import resolve
    from probe.training.card import CARD
    from probe.training.card import card as made

    text = made(where, n)
    if not write:
        print(text, end="")
        return
    file = resolve(where) / CARD
    file.write_text(text, "utf-8")
    out.print(Text(f"wrote {file}"))
