"""Tries while a model writes by itself: the values that a change puts in, step by step, and the steps it is made at.

What is put in at a step is what the source had at that step of its own run: another prompt's run, the other twin's, or
the model's own, unchanged one. A source that took fewer steps keeps its last. A causal source's state at a slot is the
same from the step on at which the slot was read, so it also stands in for the steps before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

import probe
from analyses.interventions import in_a_run
from analyses.interventions.in_a_run import Run, of_side
from app import live
from app.attempt import Try
from app.selection import Selection
from probe.decoding import writer_of
from probe.errors import TraceError
from probe.models.model import Model
from probe.readings import reading_for
from probe.readings.trajectory import TrajectoryReading
from probe.tasks import Batch
from probe.tracing.edits import Edit, Skip

if TYPE_CHECKING:
    import xarray


@st.cache_resource(max_entries=24, show_spinner="Writing …")
def unedited(selection: Selection, role: str) -> Run:
    """A model's own run from every prompt, and its answers."""
    twins, prompts, _ = live.of(selection)
    return in_a_run.run(twins.models[role], prompts, _reading(twins.models[role]))


def steps(selection: Selection, role: str) -> int:
    """How many steps a model takes to write."""
    return len(unedited(selection.on_all(), role).trajectory)


def edit_of(selection: Selection, wanted: Try, prompts: Batch) -> Edit | Skip:
    """The edit for some prompts, at the steps of the try."""
    return probe.only(_edit(selection, wanted, prompts), step=_window(wanted))


def _window(wanted: Try) -> slice | None:
    if wanted.steps is None:
        return None
    first, last = wanted.steps
    return slice(first, None if last is None else last + 1)


def _edit(selection: Selection, wanted: Try, prompts: Batch) -> Edit:
    site, layer = wanted.acts_at
    if wanted.deed == "zero":
        position = None if wanted.slot is None else [wanted.slot]
        return probe.zero(site, layer=layer, head=wanted.head, position=position)
    everyone = live.of(selection)[1]
    where = {"layer": layer, "head": wanted.head}
    if wanted.deed == "mean":
        return probe.mean(site, _values(selection, wanted, everyone), **where)
    if wanted.deed == "scale":
        return probe.patch(site, wanted.amount * _values(selection, wanted, prompts), **where)
    if wanted.deed == "steer":
        clean, corrupt = (_values(selection, wanted, everyone, which=which) for which in ("clean", "corrupt"))
        return probe.add(site, (clean - corrupt).mean("example", keepdims=True), **where, scale=wanted.amount)
    role, which = wanted.taken_from
    return probe.patch(site, _values(selection, wanted, prompts, role=role, which=which, moved=True), **where)


def _values(
    selection: Selection,
    wanted: Try,
    prompts: Batch,
    *,
    role: str | None = None,
    which: str = "clean",
    moved: bool = False,
) -> xarray.DataArray:
    """A model's activations in its own run (example × step × … × position × feature), labelled with the place where the
    try acts; `moved`, those of the place that its patch is taken from."""
    model = live.pair(selection.pair).models[role or wanted.role]
    slot = wanted.from_slot if moved and wanted.from_slot is not None else wanted.slot
    site, layer = wanted.comes_from if moved else wanted.acts_at
    of_run = _reading(model).run(model, of_side(prompts, which))
    found = probe.record(model, of_run, [site], layers=[layer])[site].reset_coords(drop=True)
    found = found.transpose("example", "step", "layer", *(["head"] if "head" in found.dims else []), "position", ...)
    found = found.fillna(found.isel(step=-1, drop=True))
    if slot is not None:
        found = found.sel(position=[slot]).assign_coords(position=[wanted.slot])
    found = found.dropna("position").assign_coords(layer=[wanted.acts_at[1]])
    if found.sizes["position"] == 0:
        raise TraceError(
            f"slot {slot} of {model.name!r}",
            expected="a slot that its run reads",
            found="one that it never reads",
            remedy="Choose an earlier slot, or take it from another model.",
        )
    longest = max(found.sizes["step"], _most_steps(live.pair(selection.pair).models[wanted.role], prompts))
    return found.reindex(step=range(longest), method="ffill")


def _most_steps(model: Model, prompts: Batch) -> int:
    writer = writer_of(model)
    return writer.most_passes(writer.settled(model, None, None), prompts.positions["completion"].shape[1])


def _reading(model: Model) -> TrajectoryReading:
    found = reading_for(model, "trajectory")
    assert isinstance(found, TrajectoryReading)  # every model has runs of its own
    return found
