"""Lens: what each layer of both twins would answer on one prompt; or what each head and MLP predicts by itself."""

from __future__ import annotations

import streamlit as st

from analyses import lens
from analyses.lens import TunedLens
from app import component, live
from app.drawn import Drawn, draw
from app.selection import EXAMPLES, Selection, chosen
from probe.models.model import Model
from probe.readings import Reading, reading_for
from probe.views import View

LENSES = {"logit": "Logit lens", "tuned": "Tuned lens", "component": "Component lens"}
TRAINED, ROWS = 60, 32  # steps, and states in each, of a tuned lens that is made while one waits
ABOUT = {
    "logit": "After each layer, the model's own last norm and unembedding read the residual stream. Middle layers are "
    "read in the last layer's basis, so compare two models by where they settle, not by how sure their middle layers "
    "look.",
    "tuned": f"Like the logit lens, after one affine map per layer that brings a middle state into the last layer's "
    f"basis. Trained just now for both twins, {TRAINED} steps on the task's own training prompts.",
}
KEPT = ("step", "pin", "model", "layer", "slot")


def main() -> None:
    selection = chosen()
    st.title("Lens")
    kind = st.segmented_control("Lens", list(LENSES), default="logit", format_func=LENSES.__getitem__, key="through",
                                bind="query-params", label_visibility="collapsed", required=True)  # fmt: skip
    if kind == "component":
        draw(components(selection), "components")
    else:
        show_grid(selection, kind or "logit")


def show_grid(selection: Selection, kind: str) -> None:
    kept = st.session_state.setdefault("pins", {})
    if not kept and (asked := str(st.query_params.get("lens_pin", ""))).isascii() and asked.isdigit():
        kept[selection] = (int(asked),) if int(asked) < live.pair(selection.pair).vocabulary else ()
    pins: tuple[int, ...] = kept.get(selection, ())
    said = component.show(grid(selection, pins, kind), key="lens", kept=KEPT, live=True)
    act = said.get("act")
    if act and act.get("act") == "pin" and int(act["token"]) not in pins:
        kept.clear()
        kept[selection] = (*pins, int(act["token"]))
        st.rerun()
    st.caption(f"{ABOUT[kind]} The third grid is the twin minus the AR model, for the pinned token.")


@st.cache_data(max_entries=32, show_spinner="Reading every layer …")
def grid(selection: Selection, pins: tuple[int, ...], kind: str) -> View:
    twins, prompts, example = live.of(selection)
    maps = tuned(selection.pair, selection.task, selection.reading) if kind == "tuned" else None
    return lens.grid(twins, prompts, example, reading=selection.reading, pins=pins, tuned=maps)


def tuned(pair: str, name: str, reading: str) -> dict[str, TunedLens]:
    twins = live.pair(pair)
    return {
        role: trained(model, twins.ar, name, reading_for(model, reading))
        for role, model in (("ar", twins.ar), ("diffusion", twins.diffusion))
    }


@st.cache_resource(max_entries=12, hash_funcs=live.BY_MODEL, show_spinner="Training a tuned lens for both twins …")
def trained(of: Model, ar: Model, name: str, reading: Reading) -> TunedLens:
    """On the training prompts of an AR model's twins: its own lens serves all of them."""
    prompts = live.prompts(ar, name, 2 * EXAMPLES, "train")
    return lens.train(of, prompts, readings=[reading], steps=TRAINED, rows=ROWS)


@st.cache_resource(max_entries=16, show_spinner="Reading every head and MLP …")
def components(selection: Selection) -> Drawn:
    twins, prompts, _ = live.of(selection)
    return Drawn(lens.component_lens(twins, prompts, reading=selection.reading))


main()
