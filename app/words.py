"""Words of models, runs and errors on a page that knows Markdown: each sign is only a sign."""

from __future__ import annotations

import re

import streamlit as st

from probe.errors import ProbeError


def plain(text: object) -> str:
    """A word for a place that knows Markdown."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(str(text).split()))


def tell(problem: ProbeError) -> None:
    """An error: what is wrong, and what to do."""
    st.error(f"**{plain(problem.thing)}**", icon=":material/error:")
    for name, words in (("expected", problem.expected), ("found", problem.found), ("do", problem.remedy)):
        st.write(f"**{name}** {plain(words)}")
