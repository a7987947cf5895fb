"""Specialisation: whether few heads and MLPs do the work, or many a little."""

from __future__ import annotations

import streamlit as st

from analyses import specialization
from analyses.result import Result
from app import live
from app.selection import Selection, chosen
from app.words import plain


def main() -> None:
    selection = chosen(example=False)
    st.title("Specialisation")
    result = spread(selection)
    st.plotly_chart(result.figure().update_layout(title=None), config={"displaylogo": False})
    st.caption(plain(result.caption))
    with st.expander("Numbers"):
        st.dataframe(result.table, hide_index=True)


@st.cache_resource(max_entries=16, show_spinner=False)
def spread(selection: Selection) -> Result:
    return specialization.spread(*live.circuits(selection.pair, selection.task, selection.reading))


main()
