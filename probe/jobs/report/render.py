"""The report: a run as one file to read, to send, and to print.

A reader of a run has three questions: what are the findings, can I trust them, how do I reproduce them? So the report
begins with the question and the answer in sentences, with the numbers that decide it. It shows example prompts, and one
figure per measure: small panels for all pairs and tasks. Every unit's own figure, its numbers with interval, null and
the command that computes them again can be opened. It lists what failed, and ends with how the run was made.

    report.html       one self-contained page: Plotly and the figures are inside, and no network is used
    report.md         the same answers and effects as Markdown, short enough to paste into an issue
    report.parquet    every estimate of the run in one table

The panels are drawn here, as SVG: a page shows and prints them at once, without a script. A unit's own figure is
Plotly's, and is drawn when it is opened. Every text of a run is escaped.

    write_report("runs/demo")      # runs/demo/report.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from probe.errors import ProbeError
from probe.jobs.atomic import write_atomically
from probe.jobs.own_folder import refuse_foreign
from probe.jobs.report import formatting, glyphs
from probe.jobs.report.contents import Block, Contents, contents
from probe.jobs.report.inline_figures import (
    packed,
    packed_plotly,
    plotly_code,
    policy,
    without_title_and_template,
)
from probe.jobs.report.markdown import code, escaped
from probe.jobs.report.prompts import by_prompt, words_of
from probe.jobs.report.provenance import provenance
from probe.jobs.report.significance import counted
from probe.jobs.report.words import Glossary
from probe.jobs.run_folder import RunFolder, left_out, open_run

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 10_000_000  # bytes of the page; figures beyond this are left to the app, and the page says so
ROOM_FOR_WORDS = 9_500  # bytes of a unit besides its figure: its table of numbers and its panel
MARKS = {"above": "▲", "below": "▼", "within": "○", "same": "=", "mixed": "◆"}


@dataclass(frozen=True)
class InlineFigure:
    """A compressed figure, its height on the page, and a note on rows of its table that it does not show."""

    data: str
    height: int
    left_out: str


def write_report(run: RunFolder | str | Path) -> Path:
    """Write the report of a run into its folder, and return its path."""
    run = run if isinstance(run, RunFolder) else open_run(run)
    refuse_foreign(run.folder)
    report = contents(run)
    written = {
        "report.html": html(report).encode("utf-8", errors="replace"),
        "report.md": markdown(report).encode("utf-8", errors="replace"),
        "report.parquet": estimates(run).to_parquet(index=False),
    }
    try:
        for name, content in written.items():
            write_atomically(run.folder / name, content)
        run.note_files({name: {"sha256": sha256(content).hexdigest(), "bytes": len(content)} for name, content in
                        written.items()})  # fmt: skip
    except OSError as problem:
        raise ProbeError(
            f"run folder {run.folder}",
            expected="a folder that can be written",
            found=problem.strerror or str(problem),
            remedy="Free some space, or copy the folder to where you may write, and make the report there.",
        ) from None
    return run.folder / "report.html"


def html(report: Contents) -> str:
    """The report as one page."""
    figures, template, left_out = _inline_figures(report)
    return render_html(
        "report.html.j2",
        report=report,
        figures=figures,
        figures_template=template,
        figures_left_out=left_out,
        run=report.run,
        made=provenance(report.run),
        words=Glossary(),
    )


def markdown(report: Contents) -> str:
    """The report as Markdown; its figures are the files beside it."""
    return render_markdown("report.md.j2", report=report, run=report.run, made=provenance(report.run))


def estimates(run: RunFolder) -> pd.DataFrame:
    """Every estimate of a run in one table, each with the unit it is of and its significance."""
    import pandas as pd

    from probe.jobs.report.significance import judge

    tables = []
    for unit in run.done:
        try:
            judged = judge(run.saved(unit).estimates)
        except ProbeError:
            continue  # the report lists it among the failures
        of = {"id": unit.id, "pair": unit.pair, "task": unit.task, "reading": unit.reading, "measure": unit.measure}
        tables.append(judged.assign(**{f"unit_{key}": value for key, value in of.items()}, unit_seed=unit.seed))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def render_html(template: str, **values: Any) -> str:
    """A page with its styles, its scripts, and a policy that allows nothing else."""
    draws = bool(values.get("figures"))
    scripts = [plotly_code(), _asset("page.js")] if draws else []
    inline = {"style": Markup(_asset("page.css")), "script": Markup(scripts[-1]) if draws else ""}
    plotly = packed_plotly() if draws else ""
    page = _environment(autoescape=True).get_template(template)
    return page.render(policy=policy(*scripts), plotly=plotly, **inline, **values)


def render_markdown(template: str, **values: Any) -> str:
    """A text from a template."""
    return _environment(autoescape=False, finalize=escaped).get_template(template).render(values)


@cache
def _environment(**how: Any) -> Environment:
    """Cached with its compiled templates, since compiling them takes longer than filling them in."""
    loader = PackageLoader("probe.jobs.report")
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, **how)
    environment.globals.update(
        formatting=formatting, glyphs=glyphs, by_prompt=by_prompt, words_of=words_of, MARKS=MARKS, counted=counted
    )
    environment.filters["code"] = code
    return environment


def _asset(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text("utf-8")


def _inline_figures(report: Contents) -> tuple[dict[str, InlineFigure], str, set[str]]:
    """The packed figures by anchor, the template they share, and the anchors of those left out for size."""
    figures: dict[str, InlineFigure] = {}
    shared: dict[str, Any] = {}
    room = LARGEST - len(packed_plotly()) - ROOM_FOR_WORDS * len(list(report.blocks))
    for block in report.blocks:
        stored = _figure(report.run, block)
        if stored is None:
            continue
        figure, template = without_title_and_template(stored)
        shared = shared or template or {}
        if template and template != shared:
            figure["layout"]["template"] = template
        height = int(formatting.as_float(figure["layout"].get("height", 420)))
        figures[block.anchor] = InlineFigure(packed(json.dumps(figure)), height, left_out(figure))
    kept = _within(figures, room)
    return kept, packed(json.dumps(shared)), set(figures) - set(kept)


def _within(figures: dict[str, InlineFigure], room: int) -> dict[str, InlineFigure]:
    """As many figures as fit: the largest are left out."""
    kept: set[str] = set()
    for anchor in sorted(figures, key=lambda anchor: len(figures[anchor].data)):
        room -= len(figures[anchor].data)
        if room < 0:
            break
        kept.add(anchor)
    return {anchor: figure for anchor, figure in figures.items() if anchor in kept}


def _figure(run: RunFolder, block: Block) -> dict[str, Any] | None:
    """A block's figure; one that cannot be read counts as not saved, since the numbers are shown anyway."""
    try:
        return run.figure(block.unit)
    except ProbeError:
        return None
