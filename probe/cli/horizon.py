"""`horizon`: fit FLUID's horizon heads, and compare elastic strides with fixed ones and with γ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from probe.cli.screen import Json, Where, app, out
from probe.errors import ProbeError
from probe.progress import progress

if TYPE_CHECKING:
    from probe.training.horizon_choice import Chosen
    from probe.training.horizon_fit import Source

_EXAMPLES = "\n\n".join(
    f"{what}: [cyan]twinprobe horizon {how}[/]"
    for what, how in (
        ("On a task's answers", "zoo:fluid --task countdown --task sudoku --out my-head"),
        ("On running text", "zoo:text-fluid --text zoo:moby-dick --length 48"),
        ("One head alone", "zoo:text-fluid --text zoo:moby-dick --length 48 --tau 1.5 --out my-head"),
    )
)


@app.command(epilog=_EXAMPLES)
def horizon(
    where: Where,
    task: Annotated[list[str] | None, typer.Option(help="A task whose answers are written; repeatable.")] = None,
    text: Annotated[list[str] | None, typer.Option(help="A text to continue, a file or zoo:NAME; repeatable.")] = None,
    length: Annotated[int, typer.Option(min=16, help="Tokens of each piece of a text, of which 8 are given.")] = 48,
    tau: Annotated[
        list[float] | None, typer.Option(help="A τ to try; repeatable. Without --tau and --cost: seven and eight.")
    ] = None,
    cost: Annotated[list[float] | None, typer.Option(help="A cost of a draft to try; repeatable.")] = None,
    n: Annotated[int, typer.Option("-n", min=20, help="Questions per task and split.")] = 300,
    texts: Annotated[int, typer.Option(min=20, help="Training texts per task for the heads.")] = 2000,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Also decode without checks, where accuracy differs.")
    ] = False,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Save the chosen head here, and every rule in frontier.csv.")
    ] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, as in the docs.")] = False,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Choose the head of FLUID's Elastic Horizons on the calibration split, and compare it with fixed strides and γ."""
    from probe.models.loading import load
    from probe.paradigms.attachments import save_attachments
    from probe.training.horizon_choice import HorizonChoice, choose_horizon

    asked = {"taus": tuple(tau or ()), "costs": tuple(cost or ())} if tau or cost else {}
    plan = HorizonChoice(**asked, texts=texts, questions=n, unverified=unverified, seed=seed)  # type: ignore[arg-type]  # tuples alone
    sources, model = _sources(task or [], text or [], length), load(where)
    with progress("horizon", len(plan.targets), "heads", lines=True) as advance:
        found = choose_horizon(model, sources, plan, tell=lambda _: advance())
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        save_attachments(model, folder)
        (folder / "frontier.csv").write_text(_frontier(found), "utf-8")
    tables = _tables(found)
    if as_json:
        print(json.dumps({"chosen": found.chosen.row(), **tables}, ensure_ascii=False))
        return
    for title, rows in tables.items():
        _show(title, rows, as_markdown)
    out.print(Text(f"chosen on the calibration split: {found.chosen.rule}, head {found.chosen.target}"))


def _sources(tasks: Sequence[str], texts: Sequence[str], length: int) -> list[Source]:
    from probe.tasks import task
    from probe.training.horizon_fit import OfTask, OfText
    from probe.training.recipe import Text as Plan

    if not tasks and not texts:
        raise ProbeError("what a horizon is chosen on", expected="a --task or a --text", found="neither",
                         remedy="For example --task countdown, or --text zoo:moby-dick --length 48.")  # fmt: skip
    return [
        *(OfTask(task(name)) for name in tasks),
        *(OfText(Plan(files=(name,), length=length, weight=1.0)) for name in texts),
    ]


def _tables(found: Chosen) -> dict[str, list[dict[str, str]]]:
    tables = {
        "Fixed strides, verified": [one.row() for one in [*found.fixed, found.chosen]],
        "Beside a fixed stride, the cheapest rule that makes at most 1% more passes": [
            one.row() for one in found.rivals
        ],
    }
    if found.unverified:
        tables["Without checks"] = [one.row() for one in found.unverified]
    return tables


def _show(title: str, rows: list[dict[str, str]], as_markdown: bool) -> None:
    if as_markdown:
        print(f"{title}:\n")
        print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
        print("\n".join("| " + " | ".join(row.values()) + " |" for row in rows) + "\n")
        return
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row.values()))
    out.print(table)


def _frontier(found: Chosen) -> str:
    """Every rule on the test split, as CSV."""
    lines = ["family,strides,gamma,head,tokens_a_pass,slots_a_token"]
    for one in found.every:
        facts = (one.family, one.rule.length_in_words, f"{one.rule.gamma:g}", one.target or "")
        lines.append(",".join(map(str, facts)) + f",{one.tokens_a_pass:.4f},{one.slots_a_token:.4f}")
    return "\n".join(lines) + "\n"
