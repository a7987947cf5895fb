"""Two people at one app: what each looks at is what the other does not change."""

from __future__ import annotations

import threading
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
    both, seen, wrong = threading.Barrier(2), {}, []

    def session(task: str) -> None:
        try:
            app = AppTest.from_file(str(APP), default_timeout=600).run()
            both.wait(300)
            app.selectbox(key="measure").set_value("Front loading").run()
            app.selectbox(key="pair").set_value("zoo:masked").run()
            both.wait(300)
            app.selectbox(key="task").set_value(task).run()
            both.wait(300)
            app.run()
            assert not app.exception
            seen[task] = [element.value.replace("\\", "") for element in app.subheader]
        except BaseException as problem:
            wrong.append(problem)
            both.abort()

    threads = [threading.Thread(target=session, args=(task,)) for task in CHOICES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    assert not wrong, wrong
    assert seen == {task: [f"zoo:masked · {task} · prefix"] for task in CHOICES}
    assert {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()} == before
