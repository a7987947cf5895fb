"""Start: what the app is, three first views that are one click away, findings about the chosen twins, and the runs.

The three views are drawn before anything heavy is imported, so that there is something to click on at once.
"""

from __future__ import annotations

import streamlit as st

FIRST = (
    (
        "Watch both write",
        "The AR model writes from left to right, its masked twin where it is most confident.",
        "write",
        {"models": ["zoo:ar", "zoo:masked"]},
    ),
    (
        "Which head took over?",
        "The head that the twin relies on more than the AR model, and whether the answer breaks without it.",
        "circuits",
        {"twins": "zoo:masked", "on": "ioi"},
    ),
    (
        "Drag one into the other",
        "Patch an activation of one prompt or twin into the other's run, and see how far the change reaches.",
        "intervene",
        {"twins": "zoo:masked", "on": "ioi"},
    ),
)


def main() -> None:
    st.title("What changes inside a language model when an autoregressive one becomes a diffusion one?")
    st.write(
        "Choose twins and a task on the left; every page keeps them, and a page's address is a link to what you see."
    )
    for column, (title, about, page, shared) in zip(st.columns(len(FIRST)), FIRST, strict=True):
        with column.container(border=True, height="stretch"):
            st.subheader(title)
            st.write(about)
            st.page_link(f"screens/{page}.py", label="Open", icon=":material/arrow_forward:", query_params=shared)
    from app import at_hand

    at_hand.show()


main()
