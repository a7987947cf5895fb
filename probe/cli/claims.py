"""`claims`: what the systems' papers claim of their own methods, tested on the shipped twins.

Other packages define the claims (entry points of the group `twinprobe.claims`, each an iterable
of claims). This module finds them, gives them the models that they need, and shows the results.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from probe.cli.screen import Json, app, out
from probe.errors import ProbeError, nearest
from probe.installed import entries
from probe.outside_files import TABLE as TABLE_FILE
from probe.progress import progress

GROUP = "twinprobe.claims"
_SHOWN = ("model", "manner", "way", "task", "stride", "verified", "steps", "measure", "loss", "passes",
          "entropy", "operations", "reached", "with_start")  # fmt: skip


@app.command(epilog="Example: [cyan]twinprobe claims horizons -n 200 --out claims[/]")
def claims(
    names: Annotated[list[str] | None, typer.Argument(help="Claims to test; default: all.")] = None,
    n: Annotated[int, typer.Option("-n", min=10, help="Held-out questions per task.")] = 500,
    folder: Annotated[Path | None, typer.Option("--out", help="Save tables (parquet) and figures (JSON) here.")] = None,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, as in the zoo's card of claims.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Test on the shipped twins what the systems' papers claim of their own methods."""
    from probe.training.trained_models import Zoo

    known = _known()
    for name in names or ():
        if name not in known:
            raise ProbeError(
                f"claim {name!r}", expected="one of " + ", ".join(known), found=repr(name), remedy=nearest(name, known)
            )
    zoo, told = Zoo(), []
    show = _print_markdown if as_markdown else _print
    for claim in _counted([known[name] for name in names or known]):
        missing = _missing(claim)
        if as_markdown:
            print(f"## {claim.name}\n\n*{claim.says}* `twinprobe claims {claim.name} -n {n}`\n")
        elif not as_json:
            out.print(Text.assemble((f"{claim.name}  ", "bold"), claim.says))
        if missing:
            told.append({"claim": claim.name, "not asked": f"not shipped: {', '.join(missing)}"})
            if not as_json:
                out.print(Text(f"  not tested: {', '.join(missing)} not shipped", style="yellow"))
            continue
        for number, result in enumerate(claim.ask(zoo, n)):
            if folder is not None:
                _keep(result, folder, f"{claim.name}-{number}")
            if as_json:
                rows = TABLE_FILE.json_of(str(result.table.to_json(orient="records")), claim.name)
                told.append({"claim": claim.name, "says": claim.says, "title": result.title, "rows": rows})
            else:
                show(result)
    if as_json:
        print(json.dumps(told, indent=1, ensure_ascii=False))


def _counted(claims: list[Any]) -> Iterator[Any]:
    """Each claim, with progress on standard error."""
    with progress("claims", len(claims), "claims", lines=True) as advance:
        for claim in claims:
            advance(0, f"testing {claim.name}")
            yield claim
            advance()


def _known() -> dict[str, Any]:
    """Every claim that is installed, by name."""
    return {claim.name: claim for entry in entries(GROUP) for claim in entry.load()}


def _missing(claim: Any) -> list[str]:
    from probe.zoo import curves, shipped

    models = [name for name in claim.models if name not in shipped()]
    return models + [f"the curve of {name}" for name in claim.curves if name not in curves()]


def _keep(result: Any, folder: Path, name: str) -> None:
    from dataclasses import replace

    folder.mkdir(parents=True, exist_ok=True)
    replace(result, name=name).save(folder)
    (folder / f"{name}.json").write_text(result.figure().to_json(), "utf-8")


def _print_markdown(result: Any) -> None:
    """The same table in Markdown."""
    from probe.jobs.report.markdown import escaped

    head, rows = _cells(result)
    print(f"**{escaped(result.title)}.** {escaped(result.caption)}\n")
    for row in (head, ["---"] * len(head), *([escaped(cell) for cell in row] for row in rows)):
        print("| " + " | ".join(row) + " |")
    print()


def _print(result: Any) -> None:
    table = Table(
        title=Text(result.title),
        caption=Text(result.caption),
        box=box.SIMPLE,
        title_justify="left",
        caption_justify="left",
    )
    head, rows = _cells(result)
    for name in head:
        table.add_column(name)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    out.print(table)


def _cells(result: Any) -> tuple[list[str], list[list[str]]]:
    """A result as a table's header and rows. Each estimate is shown with its interval."""
    beside = [name for name in result.table if f"{name}_low" in result.table]
    shown = [name for name in _SHOWN if name in result.table and name not in beside]
    tested = [name for name in ("q",) if name in result.table]
    rows = [
        [
            *(_cell(row[name]) for name in shown),
            _cell(row["estimate"]),
            _interval(row.get("low", float("nan")), row.get("high", float("nan"))),
            *(f"{_cell(row[name])} {_interval(row[f'{name}_low'], row[f'{name}_high'])}".strip() for name in beside),
            *(_chance(row[name]) for name in tested),
            _cell(row.get("n", "")),
        ]
        for row in result.table.to_dict("records")
    ]
    return [*shown, "estimate", "95% interval", *beside, *tested, "n"], rows


def _interval(low: float, high: float) -> str:
    return "" if low != low else f"[{low:.3f}, {'unknown' if high != high else f'{high:.3f}'}]"


def _chance(q: float) -> str:
    return "" if q != q else "<0.001" if q < 0.001 else f"{q:.3f}"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        shown = "" if value != value else f"{value:.3f}".rstrip("0").rstrip(".")
        return "0" if shown == "-0" else shown
    return str(value)
