"""Specialisation: whether a few heads and MLPs do most of the work, or many do a little each."""

from __future__ import annotations

import streamlit as st

from analyses import circuits, specialization
from app import contrast, live
from app.drawn import Drawn, draw
from app.selection import Selection, chosen


def main() -> None:
    selection = chosen(example=False)
    st.title("Specialisation")
    contrast.show(selection, contrast.SPREAD, "spread")
    draw(importance(selection), "importance")
    with st.expander("All measures of spread: PR, entropy, Gini, largest share, n for half and nine tenths"):
        draw(spread(selection), "spread")


@st.cache_resource(max_entries=16, show_spinner=False)
def importance(selection: Selection) -> Drawn:
    return Drawn(circuits.importance(*live.circuits(selection.pair, selection.task, selection.reading)))


@st.cache_resource(max_entries=16, show_spinner=False)
def spread(selection: Selection) -> Drawn:
    return Drawn(specialization.spread(*live.circuits(selection.pair, selection.task, selection.reading)))


main()
