"""Two people at one app: what each looks at is what the other does not change.

Streamlit's test tool puts a stand-in for the server in place while a script runs, one at a time: so the two take turns
here. That threads do not disturb each other in the models they share is a test of the models.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.probe.jobs.made_up import write_run

APP = Path(__file__).parents[2] / "app" / "main.py"
CHOICES = {"countdown": "▲", "ioi": "○"}


@pytest.mark.filterwarnings("ignore")
def test_two_sessions_over_one_run_each_see_their_own_choice(tmp_path, monkeypatch):
    folder = write_run(tmp_path / "demo", hypotheses=True)
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    monkeypatch.setattr("sys.argv", ["main.py"])
    monkeypatch.setenv("TWINPROBE_RUN", str(folder))
    sessions = {task: AppTest.from_file(str(APP), default_timeout=600).run() for task in CHOICES}
    for key, value in (("measure", "Front loading"), ("pair", "zoo:masked"), ("task", None)):
        for task, app in sessions.items():
            app.selectbox(key=key).set_value(value or task).run()
    seen = {}
    for task, app in sessions.items():
        app.run()
        assert not app.exception
        seen[task] = [element.value.replace("\\", "") for element in app.subheader]
    assert seen == {task: [f"zoo:masked · {task} · prefix"] for task in CHOICES}
    assert {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()} == before
