"""Words of models, runs and errors as plain text on a page that renders Markdown."""

from __future__ import annotations

import re

import streamlit as st

from probe.errors import ProbeError


def plain(text: object) -> str:
    """A word, escaped for Markdown."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(str(text).split()))


def tell(problem: ProbeError) -> None:
    """Show an error: what is wrong, and what to do."""
    st.error(f"**{plain(problem.thing)}**", icon=":material/error:")
    for name, words in (("expected", problem.expected), ("found", problem.found), ("do", problem.remedy)):
        st.write(f"**{name}** {plain(words)}")
