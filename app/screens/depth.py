"""Depth and front-loading: whether the twin computes earlier than its AR model, and what explains the difference."""

from __future__ import annotations

import streamlit as st

from analyses import front_loading, lens
from app import contrast, live
from app.drawn import Drawn, draw
from app.selection import Selection, chosen


def main() -> None:
    selection = chosen(example=False)
    st.title("Depth and front-loading")
    contrast.show(selection, contrast.FRONT_LOADING, "depth")
    draw(profile(selection), "profile")
    draw(beliefs(selection), "beliefs")
    with st.expander("All front-loading numbers, attention and MLPs separately"):
        draw(index(selection), "front-loading")


@st.cache_resource(max_entries=16, show_spinner=False)
def index(selection: Selection) -> Drawn:
    return Drawn(front_loading.index(*live.circuits(selection.pair, selection.task, selection.reading)))


@st.cache_resource(max_entries=16, show_spinner=False)
def profile(selection: Selection) -> Drawn:
    return Drawn(front_loading.profile(*live.circuits(selection.pair, selection.task, selection.reading)))


@st.cache_resource(max_entries=16, show_spinner="Reading every layer …")
def beliefs(selection: Selection) -> Drawn:
    twins, prompts, _ = live.of(selection)
    return Drawn(lens.logit_lens(twins, prompts, reading=selection.reading))


main()
