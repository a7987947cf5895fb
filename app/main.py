"""The app: watch twins write, look inside them, and read finished runs.

    streamlit run app/main.py                    # live, with the shipped twins
    streamlit run app/main.py -- runs/demo       # the same, and this run to read

The pair, task, reading and example are chosen once, on the left, for all live pages, and kept in the address, so a view
can be sent to a colleague. The app serves this machine alone (`.streamlit/config.toml`), opens only the folders that it
was started with, and shows every word of models and files as text, never as markup.
"""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent
if str(HERE.parent) not in sys.path:  # streamlit puts the script's own folder there, not the project's
    sys.path.insert(0, str(HERE.parent))

PAGES = (
    ("start", "Start", ":material/home:"),
    ("write", "Write", ":material/edit:"),
    ("lens", "Lens", ":material/grid_on:"),
    ("attention", "Attention", ":material/visibility:"),
    ("circuits", "Circuits", ":material/hub:"),
    ("intervene", "Intervene", ":material/build:"),
    ("depth", "Depth", ":material/stacked_bar_chart:"),
    ("specialisation", "Specialisation", ":material/scatter_plot:"),
    ("jobs", "Jobs", ":material/play_arrow:"),
    ("runs", "Runs", ":material/description:"),
)
STYLE = """<style>
[data-testid="stMainBlockContainer"] { padding: 3.6rem 1.6rem 3rem; max-width: none; }
[data-testid="stSidebarUserContent"] { padding-top: 0; }
[data-testid="stMainBlockContainer"] h1 { padding: 0 0 .2rem; }
</style>"""


def main() -> None:
    from app.folders import given
    from app.words import tell
    from probe.errors import ProbeError

    st.set_page_config("Twinprobe", page_icon="◐", layout="wide", initial_sidebar_state=250)
    st.html(STYLE)
    pages = {
        name: st.Page(HERE / "screens" / f"{name}.py", title=title, icon=icon, url_path=name, default=name == "start")
        for name, title, icon in PAGES
    }
    chosen = st.navigation(list(pages.values()), position="top")
    if first_look(chosen.url_path) and given() and chosen is pages["start"]:
        st.switch_page(pages["runs"])  # the app was started to read a run
    try:
        chosen.run()
    except ProbeError as problem:  # a user's mistake is a sentence, on any page
        tell(problem)


def first_look(page: str) -> bool:
    """Whether this session has shown no page yet. Each change of page begins a visit, which has a number."""
    from app.component import VISIT

    shown, number = st.session_state.get(VISIT, (None, 0))
    if page != shown:
        st.session_state[VISIT] = (page, number + 1)
    return shown is None


main()
