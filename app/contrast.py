"""A difference between twins on a page: first a sentence, then its parts, switched on one by one.

    contrast.show(selection, "FLI", sentence)

The parts are those of `analyses.hypotheses`: the 2×2 of weights and attention mask, the controls (more training, a
second seed), and the same difference on other tasks. Each switch costs the circuits that it needs, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import streamlit as st

from analyses import hypotheses
from analyses.result import Result
from app import live
from app.drawn import Drawn, draw
from app.selection import Selection, tasks_of
from app.words import plain

Row = Mapping[Any, Any]  # of a table
SQUARE, CONTROLS, COMPARED = "Weights or mask? (2×2)", "Controls", "Other tasks"


@dataclass(frozen=True)
class Words:
    """The words for a difference: the measure's name, and a phrase for one above 0, below 0, and not shown."""

    measure: str
    above: str
    below: str
    neither: str


FRONT_LOADING = Words("FLI", "computes earlier", "computes later", "compute earlier or later")
SPREAD = Words(
    "PR/n",
    "spreads its computation over more components",
    "concentrates its computation in fewer components",
    "spread its computation over more or fewer components",
)


def show(selection: Selection, words: Words, key: str) -> None:
    """The difference in a sentence, and its parts on demand."""
    total = row_of(square(selection), words.measure, "total")
    st.markdown(f"#### {plain(sentence(selection.pair, words, total))}")
    asked = st.pills("Switch on", [SQUARE, CONTROLS, COMPARED], selection_mode="multi", key=f"{key}_parts",
                     label_visibility="collapsed", bind="query-params")  # fmt: skip
    if SQUARE in asked:
        draw(part(selection, SQUARE, words.measure), f"{key} square", parts_told(square(selection), words.measure))
    if CONTROLS in asked:
        if live.controls(selection.pair):
            draw(part(selection, CONTROLS, words.measure), f"{key} controls")
        else:
            st.info("No controls are declared for these twins.")
    if COMPARED in asked:
        offered = tasks_of(selection.pair)
        tasks = st.multiselect("Tasks", offered, offered[:4], key=f"{key}_tasks", bind="query-params")
        if tasks:
            draw(part(selection, COMPARED, words.measure, tuple(tasks)), f"{key} tasks")


def sentence(pair: str, words: Words, found: Row) -> str:
    """The difference, and whether its interval excludes 0."""
    low, high = found["low"], found["high"]
    what = words.above if low > 0 else words.below if high < 0 else None
    told = f"{pair} {what} than its AR twin" if what else f"{pair} is not shown to {words.neither} than its AR twin"
    return f"{told}: Δ{words.measure} {interval(found)}"


def interval(found: Row) -> str:
    """An estimate with its 95% interval."""
    return f"{found['estimate']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]".replace("-", "−")


def row_of(result: Result, measure: str, part: str) -> Row:
    table = result.table
    return table.loc[(table["measure"] == measure) & (table["part"] == part), :].iloc[0].to_dict()


def parts_told(result: Result, measure: str) -> str:
    weights, mask = (interval(row_of(result, measure, part)) for part in ("weights", "mask"))
    return f"The weights account for {weights} of the difference, the attention mask for {mask}."


@st.cache_resource(max_entries=64, show_spinner=False)
def part(selection: Selection, name: str, measure: str, tasks: tuple[str, ...] = ()) -> Drawn:
    """One part of a difference, the rows of one measure."""
    result = compared(selection, tasks) if tasks else {SQUARE: square, CONTROLS: controlled}[name](selection)
    return Drawn(replace(result, table=result.table[result.table["measure"] == measure].reset_index(drop=True)))


@st.cache_resource(max_entries=32, show_spinner="Both weights under both masks …")
def square(selection: Selection) -> Result:
    """The four cells of the 2×2."""
    where = (selection.pair, selection.task, selection.reading)
    native = live.pair(selection.pair).diffusion.paradigm.attention
    cells = {("ar", "causal"): live.circuit(*where, "ar"), ("diffusion", "native"): live.circuit(*where, "diffusion")}
    cells["ar", "native"] = live.circuit(*where, "ar", native)
    cells["diffusion", "causal"] = live.circuit(*where, "diffusion", "causal")
    return hypotheses.two_by_two(cells)


@st.cache_resource(max_entries=32, show_spinner="The controls …")
def controlled(selection: Selection) -> Result:
    where = (selection.pair, selection.task, selection.reading)
    others = {name: live.circuit(*where, name) for name in live.controls(selection.pair)}
    return hypotheses.decomposition(*live.circuits(*where), others)


@st.cache_resource(max_entries=32, show_spinner="The other tasks …")
def compared(selection: Selection, tasks: tuple[str, ...]) -> Result:
    """The difference on several tasks, a row each."""
    found = [hypotheses.decomposition(*live.circuits(selection.pair, task, selection.reading), {}) for task in tasks]
    tables = [one.table[one.table["part"] == "total"] for one in found]
    axes = {"rows": ["task"], "facet": "measure"}
    return replace(found[0], title="The same difference on other tasks", table=pd.concat(tables, ignore_index=True),
                   caption="The diffusion model minus its AR twin, with 95% intervals over prompts. Local tasks can be "
                   "answered from the left context, global ones cannot.", about={"axes": axes})  # fmt: skip
