"""The lower half of the first page: findings about the chosen twins, their self-tests, and finished runs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from analyses import circuits, hypotheses
from app import live
from app.contrast import FRONT_LOADING, SPREAD, row_of, sentence
from app.folders import given, runs
from app.selection import Selection, chosen
from app.words import plain, tell
from probe.errors import ProbeError
from probe.jobs.report.contents import contents
from probe.jobs.run_folder import MANIFEST, open_run
from probe.models.selftests.finding import NOT_RUN, PASS

MOST_FINDINGS = 5
READING = "prefix"


def show() -> None:
    selection = chosen(reading=False, example=False)
    left, right = st.columns([3, 2], gap="large")
    with right:
        show_runs()
    with left:
        st.subheader(plain(f"Findings: {selection.pair} on {selection.task}"))
        try:
            for found in findings(selection):
                st.write(f"- {plain(found)}")
            st.caption("Computed just now on this machine: EAP-IG on 24 prompts, with 95% intervals over prompts.")
            show_selftests(selection)
        except ProbeError as problem:
            tell(problem)


@st.cache_resource(max_entries=32, show_spinner="Asking both twins …")
def findings(selection: Selection) -> list[str]:
    """What the chosen twins show on the task: the circuit, its depth, and its spread."""
    where = (selection.pair, selection.task, READING)
    ar, twin = live.circuits(*where)
    told = [kept(selection)]
    total = hypotheses.decomposition(ar, twin, {})
    told.append(f"{sentence(selection.pair, FRONT_LOADING, row_of(total, 'FLI', 'total'))}.")
    told.append(f"{sentence(selection.pair, SPREAD, row_of(total, 'PR/n', 'total'))}.")
    changed = circuits.node_changes(ar, twin).table
    heads = changed.loc[(changed["kind"] == "head") & (changed["q"] < 0.05), :]
    named = ", ".join(f"L{row['layer']}H{row['head']}" for row in heads.head(3).to_dict("records"))
    told.append(f"{len(heads)} of its heads matter more or less to the answer than in the AR model"
                + (f"; {named} changed most." if named else "."))  # fmt: skip
    return told


def kept(selection: Selection, k: int = 60) -> str:
    """How many of the AR model's strongest edges the twin shares, compared with chance and a second seed."""
    where = (selection.pair, selection.task, READING)
    ar, twin = live.circuits(*where)
    shared = int((ar.mask(k) & twin.mask(k)).sum())
    said = f"{selection.pair} shares {shared} of {ar.about.model}'s {k} strongest edges; by chance it would share "
    said += f"{k * k / ar.graph.n_edges:.1f}"
    if other := live.other_seed(selection.pair):
        again = live.circuit(*where, other)
        base = ar if other.startswith("ar") else twin
        said += (
            f", and {base.about.model} shares {int((base.mask(k) & again.mask(k)).sum())} with another seed of itself"
        )
    return f"{said}."


def show_selftests(selection: Selection) -> None:
    """The outcomes of the self-tests that ran when the twins were loaded."""
    twins = live.pair(selection.pair)
    found = {model.name: model.selftests.findings if model.selftests else () for model in twins.models.values()}
    passed = sum(one.outcome == PASS for tests in found.values() for one in tests)
    every = sum(len(tests) for tests in found.values())
    skipped = sum(one.outcome == NOT_RUN for tests in found.values() for one in tests)
    words = f"Self-tests of both models, run when they were loaded: {passed} of {every} passed"
    with st.expander(words + (f", {skipped} not run" if skipped else ""), icon=":material/verified:"):
        rows = [{"model": name, **vars(one)} for name, tests in found.items() for one in tests]
        st.dataframe(pd.DataFrame(rows), hide_index=True)


def show_runs() -> None:
    """The runs in the folders that the app was started with, and the findings of the first."""
    found = runs()
    st.subheader("Finished runs")
    if not found:
        st.write(
            "None here. `twinprobe demo` makes one; start the app with its folder to read it: "
            "`streamlit run app/main.py -- runs/demo`."
        )
    for turn, folder in enumerate(found):
        page, shared = "screens/runs.py", {"run": folder}
        st.page_link(page, label=plain(folder), icon=":material/description:", query_params=shared)
        if turn == 0 and given():
            show_findings(folder)


def show_findings(folder: str) -> None:
    try:
        said = said_by(folder, (Path(folder) / MANIFEST).stat().st_mtime)
    except ProbeError as problem:
        tell(problem)
        return
    for told in said[:MOST_FINDINGS]:
        st.write(f"- {plain(told)}")


@st.cache_resource(max_entries=4, show_spinner="Reading the run …")
def said_by(folder: str, changed: float) -> list[str]:
    """A run's findings, read again when its manifest has changed."""
    report = contents(open_run(folder))
    sentences = dict.fromkeys([*report.verdict.sentences, *report.verdict.counts])
    return [*sentences, *(block.finding for block in report.blocks if block.finding)]
