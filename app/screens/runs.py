"""Runs: a finished run, to browse.

    streamlit run app/main.py -- runs/demo

It shows what the report shows, from the same files, and lets a reader choose the measure, pair and task. It opens the
runs in the folders that the app was started with, and nothing else on the machine: those named on the command line,
else the one that `TWINPROBE_RUN` names, else the current folder.

Tables are cached, figures are not: drawing a figure from its numbers takes less time than copying it out of a cache.
Every word of a run is escaped before it is shown, never treated as markup.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import streamlit as st

from app.folders import roots, runs
from app.words import plain, tell
from probe.errors import ProbeError
from probe.jobs.report import formatting
from probe.jobs.report.contents import Block, Contents, contents
from probe.jobs.report.hypotheses import Answer
from probe.jobs.report.provenance import provenance
from probe.jobs.report.render import MARKS
from probe.jobs.report.significance import judge
from probe.jobs.run_folder import MANIFEST, RunFolder, left_out, open_run

EVERY = "every one"
MOST_FIGURES = 8  # at a time; a browser with a hundred charts is no fun


def main() -> None:
    folder = chosen_folder()
    if folder is None:
        st.title("Runs")
        st.write(
            "No run is open. Make one with `twinprobe demo`, and start the app with its folder: "
            "`streamlit run app/main.py -- runs/demo`."
        )
        return
    try:
        report = read(str(folder), (folder / MANIFEST).stat().st_mtime if (folder / MANIFEST).is_file() else 0.0)
    except ProbeError as problem:
        tell(problem)
        return
    measure, blocks = chosen_blocks(report)
    show_summary(report)
    show_downloads(report.run)
    show_measure(report, measure, blocks)
    show_failures(report)
    show_provenance(report.run)


@st.cache_resource(max_entries=4, show_spinner="Reading the run …")
def read(folder: str, changed: float) -> Contents:
    """The content of a run's report, read again when its manifest has changed."""
    return contents(open_run(folder))


def chosen_folder() -> Path | None:
    """The run to show, chosen among those in the folders that the app was started with."""
    near, places = runs(), roots()
    if not near:
        return None if places == [Path.cwd()] else places[0]
    with st.sidebar:
        picked = st.selectbox(
            "Run", near, key="run", bind="query-params", help="The runs in the folders that the app was started with."
        )
    return Path(picked) if picked in near else None


def chosen_blocks(report: Contents) -> tuple[str, list[Block]]:
    """The blocks of the measure, pair and task that the reader chose."""
    with st.sidebar:
        headings = [section.heading for section in report.sections]
        measure = st.selectbox("Measure", headings, key="measure")
        blocks = [block for section in report.sections if section.heading == measure for block in section.blocks]
        for name in ("pair", "task", "reading", "seed"):
            blocks = narrowed(blocks, name)
    return measure or "", blocks


def narrowed(blocks: list[Block], name: str) -> list[Block]:
    """The blocks with the chosen pair, task, reading or seed; a choice is offered only if the blocks differ in it."""
    values = list(dict.fromkeys(getattr(block.unit, name) for block in blocks))
    if len(values) < 2:
        return blocks
    chosen = st.selectbox(name.capitalize(), [EVERY, *values], key=name, format_func=lambda value: str(value or "none"))
    return [block for block in blocks if chosen in (EVERY, getattr(block.unit, name))]


def show_summary(report: Contents) -> None:
    st.title(plain(report.run.question))
    state = f"{len(report.run.done)} of {len(report.run.measures)} results"
    st.caption(plain(f"{report.run.name} · {state} · {report.run.folder}"))
    st.header("Findings")
    for sentence in dict.fromkeys([*report.verdict.sentences, *report.verdict.counts]):
        st.write(plain(sentence))
    if report.verdict.columns:
        st.table(verdict_table(report).map(plain).rename(columns=plain), hide_index=True)
    st.write(plain(f"{report.tally.sentence}."))
    for block in report.blocks:
        if block.finding:
            st.write(f"- {plain(block.finding)} ({plain(block.place)})")
    if report.grid:
        with st.expander("Every measure, pair and task at a glance"):
            st.dataframe(grid_table(report), hide_index=True, height="content", key="grid")
            st.caption(
                "▲ above its null · ▼ below it · ◆ some of each · ○ no difference shown · = shown to be the same"
            )


def show_downloads(run: RunFolder) -> None:
    """Downloads: the report in both of its forms, and the spec that repeats the run."""
    kinds = {"report.html": "text/html", "report.md": "text/markdown", "spec.yaml": "text/yaml"}
    here = {name: kind for name, kind in kinds.items() if (run.folder / name).is_file()}
    for column, (name, kind) in zip(st.columns(len(kinds) + 2), here.items(), strict=False):
        path = run.folder / name
        column.download_button(name, lambda path=path: path.open("rb"), name, kind, icon=":material/download:",
                               on_click="ignore")  # fmt: skip


def verdict_table(report: Contents) -> pd.DataFrame:
    """A row for each hypothesis, narrow enough to be read whole: what decides it stands below its words."""
    rows = [
        {"hypothesis": f"{hypothesis.statement} Decided by {hypothesis.written} ({hypothesis.source})"}
        | {column: answered(answer) for column, answer in zip(report.verdict.columns, hypothesis.answers, strict=True)}
        for hypothesis in report.verdict.rows
    ]
    return pd.DataFrame(rows)


def answered(answer: Answer | None) -> str:
    if answer is None:
        return formatting.NOTHING
    by = f" (by {answer.explained_by})" if answer.explained_by else ""
    return f"{answer.answer}{by}" + ("" if answer.value == formatting.NOTHING else f"  {answer.value}")


def grid_table(report: Contents) -> pd.DataFrame:
    rows = []
    for line in report.grid:
        named = {"measure": line.measure, "pair": line.pair, "reading": line.reading or formatting.NOTHING}
        cells = {
            task or "no task": "; ".join(
                f"{MARKS.get(cell.significance or '', '')} {cell.text}".strip() for cell in found
            )
            for task, found in zip(report.tasks, line.cells, strict=True)
        }
        rows.append(named | cells)
    return pd.DataFrame(rows)


def show_measure(report: Contents, measure: str, blocks: list[Block]) -> None:
    if not blocks:
        return
    st.header(plain(measure))
    section = next(section for section in report.sections if section.heading == measure)
    if section.caption:
        st.write(f"**How to read it.** {plain(section.caption)}")
    for block in blocks[:MOST_FIGURES]:
        show_block(report.run, block)
    if len(blocks) > MOST_FIGURES:
        st.info(f"{len(blocks) - MOST_FIGURES} more. Choose a pair or a task on the left.")


def show_block(run: RunFolder, block: Block) -> None:
    st.subheader(plain(block.place), anchor=block.anchor)
    for words in (block.finding, *block.unit.notes):
        if words:
            st.write(plain(words))
    show_figure(run, block)
    st.caption(f"**Figure {block.number}.** {plain(block.title)} {plain(block.caption)}")
    with st.expander(plain(block.tally.sentence)):
        st.dataframe(marked(judge(run.saved(block.unit).estimates)), hide_index=True, key=f"table {block.anchor}")
        st.code(block.command, language=None)


def show_figure(run: RunFolder, block: Block) -> None:
    try:
        figure = run.figure(block.unit)
    except ProbeError as problem:
        tell(problem)
        return
    if figure is None:
        st.info("No figure was saved for this unit; its numbers are below.")
        return
    layout = {key: value for key, value in figure.get("layout", {}).items() if key != "title"}
    layout["margin"] = {**layout.get("margin", {}), "t": 30}  # the caption is its title
    st.plotly_chart({**figure, "layout": layout}, key=f"figure {block.anchor}", config={"displaylogo": False})
    if words := left_out(figure):
        st.caption(plain(words))


def marked(judged: pd.DataFrame) -> pd.DataFrame:
    return judged.assign(
        significance=[MARKS.get(mark, "") if isinstance(mark, str) else "" for mark in judged["significance"]]
    )


def show_failures(report: Contents) -> None:
    if not report.failures:
        return
    st.header("Without a result")
    for failure in report.failures:
        st.error(f"**{plain(failure.unit.measure or failure.unit.id)}** {plain(failure.place)}")
        st.write(f"{plain(failure.kind)}: {plain(failure.message)}")
        if failure.traceback:
            with st.expander("Where it happened"):
                st.code(failure.traceback, language=None)


def show_provenance(run: RunFolder) -> None:
    made = provenance(run)
    with st.expander("Provenance"):
        if made.command:
            st.code(made.command, language=None)
        told = ("model", "roles", "note", "described", "sha256")
        models = pd.DataFrame([{name: getattr(weights, name) for name in told} for weights in made.weights])
        for name, table in (("Models", models), ("Circumstances", facts(made.circumstances)),
                            ("Versions", facts(made.versions))):  # fmt: skip
            if len(table):
                st.write(f"**{name}**")
                st.dataframe(table, hide_index=True, key=name)
        for weights in made.weights:
            if weights.recipe:
                st.write(f"**The recipe of {plain(weights.model)}**")
                st.code(weights.recipe, language="yaml")


def facts(told: Iterable[tuple[str, str]]) -> pd.DataFrame:
    return pd.DataFrame(told, columns=["what", "is"])


main()
