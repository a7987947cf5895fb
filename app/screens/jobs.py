"""Jobs: a spec filled in as a form, shown as YAML, run in the background; its report opens under Runs.

The form offers only shipped twins and tasks. A typed spec could name any path, and its errors would tell a visitor
which of them exist; such a spec is run from the command line: `twinprobe run spec.yaml`.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
import yaml

from app.folders import roots
from app.selection import pairs, tasks_of
from app.words import plain, tell
from probe.errors import ProbeError
from probe.jobs import open_run, parse_spec
from probe.jobs.run_folder import MANIFEST
from probe.jobs.spec.file import as_yaml
from probe.jobs.stages.registry import measures
from probe.readings import READINGS

QUICK = ("answers", "front_loading", "spread", "overlap", "beliefs")


@dataclass
class Job:
    """A run in the background: its process, and the file of its output."""

    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def state(self) -> str:
        code = self.process.poll()
        return "running" if code is None else "done" if code == 0 else f"stopped (exit status {code})"


@st.cache_resource
def started() -> dict[str, Job]:
    """The jobs of this app, by folder; all sessions see the same."""
    return {}


def main() -> None:
    st.title("Jobs")
    left, right = st.columns(2)
    with left:
        spec, name = form()
    text = yaml.safe_dump(spec, sort_keys=False, allow_unicode=True)
    with right:
        st.code(text, language="yaml")
    root = roots()[0]
    folder = (root.parent if (root / MANIFEST).is_file() else root / "runs") / name
    if st.button("Run it", type="primary", icon=":material/play_arrow:"):
        start(text, folder)
    show_jobs()


def form() -> tuple[dict[str, object], str]:
    known = measures()
    name = st.text_input("Name", "from-the-app", max_chars=60)
    twins = st.multiselect("Twins", pairs(), [pairs()[0]])
    offered = min((tasks_of(pair) for pair in twins or pairs()[:1]), key=len)  # what all of them can be asked
    spec: dict[str, object] = {
        "pairs": twins,
        "tasks": st.multiselect("Tasks", offered, ["ioi"]),
        "readings": st.multiselect("Readings", list(READINGS), ["prefix"]),
        "measures": st.multiselect("Measures", list(known), [one for one in QUICK if one in known]),
        "seeds": [0],
        "budget": {"examples": int(st.number_input("Prompts a task", 8, 2000, 64)), "workers": 0},
    }
    return spec, "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in name) or "run"


def start(text: str, folder: Path) -> None:
    """Check the spec, write it beside the run, and start the run as `twinprobe run` would be started by hand."""
    try:
        spec = parse_spec(text)
    except ProbeError as problem:
        tell(problem)
        return
    if str(folder) in started() and started()[str(folder)].state == "running":
        st.warning("That run is still going on. Choose another name, or cancel it.")
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    wanted = folder.with_suffix(".yaml")
    wanted.write_text(as_yaml(spec.model_copy(update={"output": str(folder)})), "utf-8")
    with folder.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "probe.cli", "run", str(wanted)], stdout=log, stderr=subprocess.STDOUT
        )
    started()[str(folder)] = Job(folder, process)


@st.fragment(run_every=3)
def show_jobs() -> None:
    """The runs with their progress, and a button to stop each. Finished units are kept; the same run again resumes."""
    for where, job in started().items():
        with st.container(border=True):
            st.write(f"**{plain(where)}**: {plain(job.state)}")
            done, all_units = progress(job.folder)
            st.progress(done / max(1, all_units), text=f"{done} of {all_units} measures done")
            if job.state == "running" and st.button("Cancel", key=f"cancel {where}"):
                job.process.terminate()
            elif job.state.startswith("stopped"):
                st.code(last_words(job.folder.with_suffix(".log")), language=None)
            elif job.state == "done":
                st.page_link("screens/runs.py", label="Read it", query_params={"run": where})


def last_words(log: Path) -> str:
    """The last lines of the run's output, which say why it stopped."""
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2000))
        return file.read().decode("utf-8", "replace")


def progress(folder: Path) -> tuple[int, int]:
    try:
        run = open_run(folder)
    except ProbeError:
        return 0, 1
    return len(run.done), len(run.measures)


main()
