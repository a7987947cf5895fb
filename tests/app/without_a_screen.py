"""The app's live pages run without a screen, by Streamlit's own tester."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

APP = Path(__file__).parents[2] / "app" / "main.py"
PAGES = ("write", "lens", "attention", "circuits", "intervene", "depth", "specialisation")


def opened(folder: Path, monkeypatch: pytest.MonkeyPatch, **address: str) -> AppTest:
    monkeypatch.setattr("sys.argv", ["main.py"])
    monkeypatch.delenv("TWINPROBE_RUN", raising=False)
    monkeypatch.chdir(folder)
    app = AppTest.from_file(str(APP), default_timeout=600)
    app.query_params.update(address)
    return app.run()


def words(app: AppTest) -> str:
    kinds = ("title", "header", "subheader", "markdown", "caption", "error", "info", "warning")
    return " ".join(element.value for kind in kinds for element in app.get(kind)).replace("\\", "")
