"""Depth and front-loading: how early the work is done, on one task and between tasks."""

from __future__ import annotations

import streamlit as st

from analyses import front_loading, lens
from analyses.result import Result
from app import live
from app.selection import Selection, chosen
from app.words import plain


def main() -> None:
    selection = chosen(example=False)
    st.title("Depth and front-loading")
    left, right = st.columns(2)
    with left:
        draw(index(selection), "front-loading")
    with right:
        draw(profile(selection), "profile")
    draw(beliefs(selection), "beliefs")


def draw(result: Result, key: str) -> None:
    st.subheader(plain(result.title))
    st.plotly_chart(result.figure().update_layout(title=None), key=key, config={"displaylogo": False})
    st.caption(plain(result.caption))
    with st.expander("Numbers"):
        st.dataframe(result.table, hide_index=True, key=f"table {key}")


@st.cache_resource(max_entries=16, show_spinner=False)
def index(selection: Selection) -> Result:
    return front_loading.index(*live.circuits(selection.pair, selection.task, selection.reading))


@st.cache_resource(max_entries=16, show_spinner=False)
def profile(selection: Selection) -> Result:
    return front_loading.profile(*live.circuits(selection.pair, selection.task, selection.reading))


@st.cache_resource(max_entries=16, show_spinner="Reading every layer …")
def beliefs(selection: Selection) -> Result:
    twins, prompts, _ = live.of(selection)
    return lens.logit_lens(twins, prompts, reading=selection.reading)


main()
