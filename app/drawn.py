"""Results on a page, each drawn once: a page runs again at every click, and to draw takes longer than all else on it.

    draw(profile(selection), "profile")     its title, its figure, what it says, and its numbers on demand

A cached function returns its result as `Drawn`, which keeps the figure beside it.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import streamlit as st

from analyses.result import Result
from app.words import plain

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


class Drawn:
    """A result, and its figure; without the title where that stands above it on the page."""

    def __init__(self, result: Result, *, titled: bool = False):
        self.result, self._titled = result, titled

    @cached_property
    def figure(self) -> Figure:
        figure = self.result.figure()
        return figure if self._titled else figure.update_layout(title=None, margin_t=40)


def draw(drawn: Drawn, key: str, told: str = "") -> None:
    """A figure with what it says, and its numbers on demand."""
    st.subheader(plain(drawn.result.title))
    if told:
        st.write(plain(told))
    st.plotly_chart(drawn.figure, key=key, config={"displaylogo": False})
    st.caption(plain(drawn.result.caption))
    with st.expander("Numbers"):
        st.dataframe(drawn.result.table, hide_index=True, key=f"table {key}")
