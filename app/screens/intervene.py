"""Intervene: put something else at a place of one twin, and see what moves.

What stands there instead is what the corrupt prompt puts there, what the other twin does, the mean over prompts, or
nothing. The grids show the model as it is, changed, and the difference; tries are listed with their effect on all
prompts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import probe
from analyses import lens, statistics
from app import component, live
from app.selection import Selection, chosen
from probe.models.model import Model
from probe.readings import Reading, reading_for
from probe.tasks import Batch
from probe.tracing.edits import Edit
from probe.views import View

SITES = {
    "z": "one head's output",
    "mlp_out": "an MLP's output",
    "attn_out": "an attention layer's output",
    "resid_post": "the residual stream behind a layer",
}
INSTEAD = {
    "corrupt": "what the corrupt prompt puts there",
    "other": "what the other twin puts there",
    "mean": "the mean over prompts",
    "zero": "nothing (zero)",
}


@dataclass(frozen=True)
class Try:
    """One change: where, and what stands there instead. `slot` None is every slot."""

    role: str
    site: str
    layer: int
    head: int | None
    slot: int | None
    instead: str

    def __str__(self) -> str:
        head = "" if self.head is None else f" head {self.head}"
        slot = "every slot" if self.slot is None else f"slot {self.slot}"
        return f"{self.role}: {self.site} layer {self.layer}{head}, {slot} ← {self.instead}"


def main() -> None:
    selection = chosen()
    st.title("Intervene")
    twins, prompts, _ = live.of(selection)
    wanted = asked(twins.ar, prompts)
    view = changed(selection, wanted)
    component.show(view, key="intervene")
    tries: dict[tuple[Selection, Try], dict[str, Any]] = st.session_state.setdefault("tries", {})
    if (selection, wanted) not in tries:
        tries[selection, wanted] = effect(selection, wanted)
    st.subheader("Tries")
    st.dataframe(pd.DataFrame(list(reversed(tries.values()))), hide_index=True)
    st.caption(
        f"The logit of the answer less the distractor's where the answer is read: mean over {len(prompts)} prompts "
        "with its 95% interval, before and after. In higher layers a change can reach the slots that attention lets "
        "see it: those to the right in a causal model, all of them in an open one."
    )
    if st.button("Forget them"):
        tries.clear()
        st.rerun()


def asked(model: Model, prompts: Batch) -> Try:
    """The change that the widgets say."""
    columns = st.columns(6)
    role = columns[0].selectbox("In", ["diffusion", "ar"], key="in", bind="query-params")
    site = columns[1].selectbox("Site", list(SITES), format_func=SITES.__getitem__, key="site", bind="query-params")
    layer = columns[2].number_input("Layer", 0, model.n_layers - 1, 1, key="layer", bind="query-params")
    head = None
    if site == "z":
        head = int(columns[3].number_input("Head", 0, model.n_heads - 1, 0, key="head", bind="query-params"))
    slots = ["every slot", *(str(slot) for slot in range(prompts.clean.shape[1]))]
    slot = columns[4].selectbox("Slot", slots, key="slot", bind="query-params")
    instead = columns[5].selectbox(
        "Instead", list(INSTEAD), format_func=INSTEAD.__getitem__, key="instead", bind="query-params"
    )
    return Try(str(role), str(site), int(layer), head, None if slot == "every slot" else int(str(slot)), str(instead))


@st.cache_data(max_entries=32, show_spinner="Running it changed …")
def changed(selection: Selection, wanted: Try) -> View:
    twins, prompts, example = live.of(selection)
    one = prompts[example : example + 1]
    model = twins.models[wanted.role]
    edits = [edit_of(selection, wanted, one)]
    return lens.before_and_after(model, prompts, example, edits, reading=selection.reading)


@st.cache_data(max_entries=256, show_spinner=False)
def effect(selection: Selection, wanted: Try) -> dict[str, Any]:
    """The change's effect over all prompts."""
    twins, prompts, _ = live.of(selection)
    model = twins.models[wanted.role]
    reading = still(model, selection)
    before = margins(model, prompts, reading)
    with probe.edit(model, [edit_of(selection, wanted, prompts)]):
        after = margins(model, prompts, reading)
    return {
        "change": str(wanted),
        "before": spoken(before),
        "after": spoken(after),
        "difference": spoken(after - before),
    }


def edit_of(selection: Selection, wanted: Try, prompts: Batch) -> Edit:
    """The edit for some prompts."""
    twins = live.pair(selection.pair)
    where: dict[str, Any] = {"layer": wanted.layer, "position": None if wanted.slot is None else [wanted.slot]}
    if wanted.head is not None:
        where["head"] = wanted.head
    if wanted.instead == "zero":
        return probe.zero(wanted.site, **where)
    other = "ar" if wanted.role == "diffusion" else "diffusion"
    model = twins.models[other if wanted.instead == "other" else wanted.role]
    if wanted.instead == "mean":
        prompts = live.of(selection)[1]
    canvas = still(model, selection).canvas(model, prompts, "corrupt" if wanted.instead == "corrupt" else "clean")
    trace = probe.record(model, canvas, [wanted.site], layers=[wanted.layer])
    if wanted.instead == "mean":
        return probe.mean(wanted.site, trace, **where)
    return probe.patch(wanted.site, trace, **where)


def still(model: Model, selection: Selection) -> Reading:
    """A reading of one state: what is changed at a slot is not followed through a whole run here."""
    return reading_for(model, "prefix" if selection.reading == "trajectory" else selection.reading)


def margins(model: Model, prompts: Batch, reading: Reading) -> np.ndarray:
    """The answer's logit less the distractor's, by prompt."""
    logits = reading.logits(model, prompts)
    rows = np.arange(len(prompts))
    return (logits[rows, prompts.target] - logits[rows, prompts.distractor]).cpu().numpy()


def spoken(values: np.ndarray) -> str:
    """A mean with its 95% interval."""
    found = statistics.mean(values[:, None]).columns()
    mean, low, high = (float(np.ravel(found[name])[0]) for name in ("estimate", "low", "high"))
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"


main()
