"""Attention: the pattern of each head, both twins side by side."""

from __future__ import annotations

import streamlit as st

from analyses import attention
from app import component, live
from app.selection import Selection, chosen
from probe.views import View


def main() -> None:
    selection = chosen()
    st.title("Attention")
    component.show(patterns(selection), key="attention", kept=("head", "by", "step"))
    st.caption(
        "Sort heads by what they attend to, in one model or by the difference between the two. Scores are for this one "
        "prompt; `analyses.attention.heads` computes them over many, with intervals."
    )


@st.cache_data(max_entries=16, show_spinner="Recording every pattern …")
def patterns(selection: Selection) -> View:
    twins, prompts, example = live.of(selection)
    return attention.patterns(twins, prompts, example, reading=selection.reading)


main()
