"""The commands that read a run: write its report again, and compare two runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from probe.cli.screen import Json, app, out
from probe.outside_files import TABLE as TABLE_FILE

if TYPE_CHECKING:
    from probe.jobs.report.compare_runs import Comparison

Run = Annotated[Path, typer.Argument(help="A run folder.", show_default=False)]
_CHANGE_STYLES = {"apart": "bold red", "moved": "yellow"}
_MOST_SHOWN = 20


@app.command(epilog="Example: [cyan]twinprobe report runs/demo[/]")
def report(run: Run) -> None:
    """Write a run's report again: report.html, report.md and report.parquet in its folder."""
    from probe.jobs.report.render import write_report

    out.print(Text(str(write_report(run))))


@app.command(epilog="Example: [cyan]twinprobe compare runs/before runs/after --out runs/compared[/]")
def compare(
    one: Run,
    two: Run,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Also write compare.html, compare.md and compare.parquet there.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare two runs: their estimates, their units, and how they were made."""
    from probe.jobs.report.compare_runs import compare as side_by_side

    found = side_by_side(one, two)
    page = found.save(folder) if folder else None
    if as_json:
        print(json.dumps(_told(found), indent=1, ensure_ascii=False))
        return
    out.print(Text(found.sentence))
    for table in _tables(found):
        out.print(table)
    if page:
        out.print(Text(str(page)))


def _told(found: Comparison) -> dict[str, object]:
    """The comparison for machines."""
    rows = TABLE_FILE.json_of(str(found.telling.to_json(orient="records")), "")
    circumstances = {"units": found.units, "circumstances": found.circumstances}
    told = {name: [vars(each) for each in which] for name, which in circumstances.items()}
    return {"sentence": found.sentence, "counts": found.counts, "changed": rows, **told}


def _tables(found: Comparison) -> list[Table]:
    tables = []
    rows = found.telling_rows()
    if rows:
        more = f", {_MOST_SHOWN} of {len(rows)}" if len(rows) > _MOST_SHOWN else ""
        changed = _table(f"estimates that differ{more}", "unit", "of", *found.names, "change")
        for row in rows[:_MOST_SHOWN]:
            cells = [Text(row[key]) for key in ("unit", "of", "one", "two")]
            changed.add_row(*cells, Text(row["change"], style=_CHANGE_STYLES.get(row["change"], "")))
        tables.append(changed)
    differing = (*found.units, *found.circumstances)
    if differing:
        made = _table("how the runs differ otherwise", "", "what", *found.names)
        for each in differing:
            made.add_row(
                *(Text("–" if words is None else words) for words in (each.kind, each.name, each.one, each.two))
            )
        tables.append(made)
    return tables


def _table(title: str, *headings: str) -> Table:
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE)
    for heading in headings:
        table.add_column(Text(heading), overflow="fold")
    return table
