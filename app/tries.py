"""Tries: one change at one place of one twin, the edit that makes it, and its effect over all prompts.

A try names a model, a site, layer, head and slot, and what replaces the activation there: that of another prompt or of
the other twin (`patch`), the mean over prompts, 0, its own value scaled, or its own value plus the mean difference
between clean and corrupt prompts (`steer`). Under the reading of decoding runs a try may be of some steps alone, and
what it puts in at a step was recorded at that step of the source's own run (`app.tries_in_a_run`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import probe
from analyses import interventions
from app import live, tries_in_a_run
from app.selection import Selection
from probe.models.model import Model
from probe.readings import Reading, reading_for
from probe.tasks import Batch
from probe.tracing.edits import Edit, Skip

# What the widgets and the address call them.
SITES = {
    "residual stream": "resid_post",
    "head output": "z",
    "attention output": "attn_out",
    "MLP output": "mlp_out",
}
DEEDS = {
    "patch": "patch from the first grid",
    "zero": "zero",
    "mean": "the mean over prompts",
    "scale": "scale",
    "steer": "add clean − corrupt",
}
SOURCES = {
    "corrupt prompt": "corrupt",
    "other twin": "other",
    "other twin, corrupt prompt": "other corrupt",
}
EMBEDDING = -1  # as a layer: the stream that enters the first one


@dataclass(frozen=True)
class Try:
    """One change. `slot` None is every slot; `layer` EMBEDDING is the stream that enters the first layer. A patch is
    taken from `source`, at `from_layer` and `from_slot` (None: the same)."""

    role: str
    site: str
    layer: int
    head: int | None = None
    slot: int | None = None
    deed: str = "patch"
    source: str = "corrupt"
    from_layer: int | None = None
    from_slot: int | None = None
    amount: float = 1.0
    steps: tuple[int, int | None] | None = (
        None  # the first and the last, from 0; a last None is the end, and None every step
    )

    @property
    def other(self) -> str:
        return "ar" if self.role == "diffusion" else "diffusion"

    @property
    def taken_from(self) -> tuple[str, str]:
        """The role of the model, and the side of the prompt, that a patch is taken from."""
        role = self.other if self.source.startswith("other") else self.role
        return role, "corrupt" if self.source.endswith("corrupt") else "clean"

    @property
    def acts_at(self) -> tuple[str, int]:
        """The site and the layer, as an edit names them."""
        return ("resid_pre", 0) if self.layer == EMBEDDING else (self.site, self.layer)

    @property
    def comes_from(self) -> tuple[str, int]:
        """The site and the layer that a patch is taken from."""
        layer = self.layer if self.from_layer is None else self.from_layer
        return ("resid_pre", 0) if layer == EMBEDDING else (self.site, layer)

    @property
    def row(self) -> int:
        """The row of the lens grid that changes: the stream after the layer."""
        return self.layer + 1

    def place(self) -> str:
        if self.site == "z":
            where = f"L{self.layer}H{self.head}"
        elif self.site == "resid_post":
            where = "embedding" if self.layer == EMBEDDING else f"stream after L{self.layer}"
        else:
            where = f"{'attention' if self.site == 'attn_out' else 'MLP'} of L{self.layer}"
        return f"{where}, {'every slot' if self.slot is None else f'slot {self.slot}'}{self._when()}"

    def _when(self) -> str:
        if self.steps is None:
            return ""
        first, last = self.steps[0] + 1, None if self.steps[1] is None else self.steps[1] + 1
        return (
            f", step {first}"
            if first == last
            else f", step {first} on"
            if last is None
            else f", steps {first} to {last}"
        )

    def what(self) -> str:
        """What is done there, in words."""
        if self.deed == "scale":
            return f"× {self.amount:g}"
        if self.deed == "steer":
            return f"{self.amount:+g} × (clean − corrupt)"
        if self.deed != "patch":
            return DEEDS[self.deed]
        role, which = self.taken_from
        layer = "" if self.from_layer in (None, self.layer) else f" L{self.from_layer}"
        slot = "" if self.from_slot is None else f" slot {self.from_slot}"
        return f"{role}, {which} prompt{layer}{slot}"


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
