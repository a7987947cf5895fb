"""Tries: one change at one place of one twin, the edit that makes it, and its effect over all prompts.

A try names a model, a site, layer, head and slot, and what replaces the activation there: that of another prompt or of
the other twin (`patch`), the mean over prompts, 0, its own value scaled, or its own value plus the mean difference
between clean and corrupt prompts (`steer`). Under the reading of decoding runs a try may be of some steps alone, and
what it puts in at a step was recorded at that step of the source's own run (`app.tries_in_a_run`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import probe
from analyses import interventions
from app import live, tries_in_a_run
from app.attempt import Try
from app.selection import Selection
from probe.models.model import Model
from probe.readings import Reading, reading_for
from probe.tasks import Batch
from probe.tracing.edits import Edit, Skip


def reading_of(model: Model, selection: Selection) -> Reading:
    return reading_for(model, selection.reading)


def edit_of(selection: Selection, wanted: Try, prompts: Batch) -> Edit | Skip:
    """The edit for some prompts."""
    if in_a_run(selection):
        return tries_in_a_run.edit_of(selection, wanted, prompts)
    twins = live.pair(selection.pair)
    model = twins.models[wanted.role]
    site, layer = wanted.acts_at
    where: dict[str, Any] = {"layer": layer, "position": None if wanted.slot is None else [wanted.slot]}
    if wanted.head is not None:
        where["head"] = wanted.head
    if wanted.deed == "zero":
        return probe.zero(site, **where)
    if wanted.deed == "mean":
        everyone = live.of(selection)[1]
        return probe.patch(site, _values(model, selection, everyone, wanted).mean(0, keepdims=True), **where)
    if wanted.deed == "scale":
        return probe.patch(site, wanted.amount * _values(model, selection, prompts, wanted), **where)
    if wanted.deed == "steer":
        everyone = live.of(selection)[1]
        clean, corrupt = (_values(model, selection, everyone, wanted, which) for which in ("clean", "corrupt"))
        return probe.add(site, (clean - corrupt).mean(0, keepdims=True), **where, scale=wanted.amount)
    role, which = wanted.taken_from
    return probe.patch(site, _values(twins.models[role], selection, prompts, wanted, which, moved=True), **where)


def _values(
    model: Model, selection: Selection, prompts: Batch, wanted: Try, which: str = "clean", *, moved: bool = False
) -> np.ndarray:
    """A model's activations where a try acts (or, `moved`, where its patch is taken from), with the axes of the
    site."""
    slot = wanted.from_slot if moved and wanted.from_slot is not None else wanted.slot
    site, layer = wanted.comes_from if moved else wanted.acts_at
    trace = probe.record(model, reading_of(model, selection).canvas(model, prompts, which), [site], layers=[layer])
    values = trace[site].isel(layer=0).transpose("example", *(["head"] if "head" in trace[site].dims else []),
                                                 "position", ...).to_numpy()  # fmt: skip
    if wanted.head is not None:
        values = values[:, [wanted.head]]
    return values if slot is None else values[..., [slot], :]


def effect(selection: Selection, wanted: Try) -> pd.DataFrame:
    """The change's effect over all prompts, whichever of them is looked at: see `analyses.interventions.effect`."""
    return _effect(selection.on_all(), wanted)


@st.cache_data(max_entries=256, show_spinner="Over all prompts …")
def _effect(selection: Selection, wanted: Try) -> pd.DataFrame:
    twins, prompts, _ = live.of(selection)
    model = twins.models[wanted.role]
    edits = [edit_of(selection, wanted, prompts)]
    unedited = tries_in_a_run.unedited(selection, wanted.role) if in_a_run(selection) else None
    return interventions.effect(model, prompts, edits, reading=reading_of(model, selection), unedited=unedited).table


def told(table: pd.DataFrame, measure: str, when: str, digits: int = 2) -> str:
    """An estimate of an effect, with its interval."""
    row = table[(table["measure"] == measure) & (table["when"] == when)].iloc[0]
    sign = "+" if when.startswith("after −") else ""
    one, low, high = (f"{row[name]:{sign}.{digits}f}" for name in ("estimate", "low", "high"))
    return (f"{one} [{low}, {high}]" if row["n"] > 1 else f"{one}, on one prompt").replace("-", "−")


def in_a_run(selection: Selection) -> bool:
    """Whether the models write by themselves, step by step."""
    return selection.reading == "trajectory"


def sentence(model: str, table: pd.DataFrame) -> str:
    """Whether the answer breaks, as the end of a sentence that names the change."""
    find = table.set_index(["measure", "when"])
    before, after = (find.loc[("answered right", when), "estimate"] for when in ("before", "after"))
    moved = find.loc[("margin", "after − before")]
    sure = moved.fillna(moved["estimate"])  # of one prompt there is no interval
    went = "falls" if sure["high"] < 0 else "rises" if sure["low"] > 0 else "is not shown to change"
    breaks = "breaks" if after < before / 2 else "suffers" if after < before else "holds"
    share = f"still answers {after:.0%} right" if after == before else f"answers {after:.0%} right, not {before:.0%}"
    said = f"the answer {breaks}: {model} {share}, and the margin {went} ({told(table, 'margin', 'after − before')})"
    if ("text changed", "after") in find.index:
        said += f"; it writes another text for {find.loc[('text changed', 'after'), 'estimate']:.0%} of the prompts"
    return said
