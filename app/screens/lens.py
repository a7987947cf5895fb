"""Lens: what each layer of both twins would answer, on one prompt."""

from __future__ import annotations

import streamlit as st

from analyses import lens
from app import component, live
from app.selection import Selection, chosen
from probe.views import View


def main() -> None:
    selection = chosen()
    st.title("Lens")
    kept = st.session_state.setdefault("pins", {})
    pins: tuple[int, ...] = kept.get(selection, ())
    said = component.show(grid(selection, pins), key="lens", live=True)
    act = said.get("act")
    if act and act.get("act") == "pin" and int(act["token"]) not in pins:
        kept.clear()
        kept[selection] = (*pins, int(act["token"]))
        st.rerun()
    st.caption(
        "The logit lens: after each layer, the stream is read by the model's own last norm and unembedding. Middle "
        "layers are read in the last layer's basis, so compare two models by where they settle rather than by how "
        "sure their middle layers look. The third grid is the twin less the AR model, on the pinned token."
    )


@st.cache_data(max_entries=32, show_spinner="Reading every layer …")
def grid(selection: Selection, pins: tuple[int, ...]) -> View:
    twins, prompts, example = live.of(selection)
    return lens.grid(twins, prompts, example, reading=selection.reading, pins=pins)


main()
