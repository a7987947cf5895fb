"""The app: watch twins write, look inside them, and read finished runs.

    streamlit run app/main.py                    # live, with the shipped twins
    streamlit run app/main.py -- runs/demo       # the same, and this run to read

What is looked at (pair, task, reading, example) is chosen once, on the left, for all live pages, and stands in the
address, so a view can be sent to a colleague. The app serves this machine alone (`.streamlit/config.toml`), opens the
folders that it was started with and no others, and shows every word of models and files as text.
"""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent
if str(HERE.parent) not in sys.path:  # streamlit puts the script's own folder there, not the project's
    sys.path.insert(0, str(HERE.parent))

PAGES = {
    "": [("start", "Start", ":material/home:")],
    "Live": [
        ("write", "Write", ":material/edit:"),
        ("lens", "Lens", ":material/grid_on:"),
        ("attention", "Attention", ":material/visibility:"),
        ("circuits", "Circuits", ":material/hub:"),
        ("intervene", "Intervene", ":material/build:"),
        ("depth", "Depth and front-loading", ":material/stacked_bar_chart:"),
        ("specialisation", "Specialisation", ":material/scatter_plot:"),
    ],
    "Runs": [("jobs", "New job", ":material/play_arrow:"), ("runs", "Read a run", ":material/description:")],
}


def main() -> None:
    from app.words import tell
    from probe.errors import ProbeError

    st.set_page_config("Twinprobe", page_icon="◐", layout="wide")
    first = default_page()
    pages = {
        heading: [
            st.Page(HERE / "screens" / f"{name}.py", title=title, icon=icon, url_path=name, default=name == first)
            for name, title, icon in listed
        ]
        for heading, listed in PAGES.items()
    }
    chosen = st.navigation(pages)
    try:
        chosen.run()
    except ProbeError as problem:  # a user's mistake is a sentence, on any page
        tell(problem)


def default_page() -> str:
    """Where the app opens: at the run that it was started with, else at the start."""
    from app.folders import given

    return "runs" if given() else "start"


main()
