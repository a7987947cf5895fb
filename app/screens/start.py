"""Start: what this is, three first views that are one click away, and the runs at hand."""

from __future__ import annotations

import streamlit as st

from app.folders import runs
from app.words import plain

FIRST = (
    (
        "Watch both write",
        "The AR model writes from left to right, its masked twin wherever it is sure.",
        "write.py",
        {},
    ),
    (
        "Where is the answer decided?",
        "What each layer of both twins would answer on one prompt, and where they differ.",
        "lens.py",
        {"twins": "zoo:masked", "on": "ioi"},
    ),
    (
        "Did the circuit survive?",
        "The strongest edges of both on one task: in both, in one alone. Click a head to follow it.",
        "circuits.py",
        {"twins": "zoo:masked", "on": "ioi"},
    ),
)


def main() -> None:
    st.title("Twinprobe")
    st.write(
        "A diffusion model can be made from an autoregressive (AR) one: the same architecture, the same vocabulary, "
        "trained on to write many tokens at once. What changes inside? Choose twins and a task on the left of any live "
        "page; the address of a page is a link to what you see."
    )
    for column, (title, about, page, selection) in zip(st.columns(len(FIRST)), FIRST, strict=True):
        with column.container(border=True):
            st.subheader(title)
            st.write(about)
            st.page_link(f"screens/{page}", label="Open", icon=":material/arrow_forward:", query_params=selection)
    found = runs()
    st.header("Finished runs")
    if not found:
        st.write(
            "None here. `twinprobe demo` makes one; start the app with its folder to read it: "
            "`streamlit run app/main.py -- runs/demo`."
        )
    for folder in found:
        st.page_link(
            "screens/runs.py", label=plain(folder), icon=":material/description:", query_params={"run": folder}
        )


main()
