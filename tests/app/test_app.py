"""The app, without a screen: what it says for a choice, for a bad folder, and for strings that mean harm."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.probe.jobs.made_up import QUESTION, write_run

APP = Path(__file__).parents[2] / "app" / "main.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "demo", hypotheses=True)


@pytest.fixture
def opened(folder, monkeypatch) -> AppTest:
    return app_on(folder, monkeypatch)


def app_on(folder: Path, monkeypatch) -> AppTest:
    monkeypatch.setattr("sys.argv", ["main.py"])
    monkeypatch.setenv("TWINPROBE_RUN", str(folder))
    app = AppTest.from_file(str(APP), default_timeout=600).run()
    assert not app.exception
    return app


def words(app: AppTest) -> str:
    """All Markdown of a page, as it reads."""
    kinds = ("title", "header", "subheader", "markdown", "caption", "error", "info")
    return " ".join(element.value for kind in kinds for element in app.get(kind)).replace("\\", "")


def test_it_shows_the_question_and_the_findings_of_the_run(opened):
    assert opened.title[0].value.replace("\\", "") == QUESTION
    assert "19 of 202 estimates with a null exclude it" in words(opened)
    assert "In zoo:masked and zoo:fluid, the AR circuit is kept on local tasks." in words(opened)


def test_the_grid_holds_the_planted_difference(opened):
    grid = next(table.value for table in opened.dataframe if "countdown" in table.value)
    line = grid[(grid["measure"] == "Front loading") & (grid["pair"] == "zoo:masked")].iloc[0]
    assert line["countdown"] == "▲ 0.120 [0.090, 0.150]"
    assert line["ioi"] == "○ 0.010 [−0.020, 0.040]"


def test_a_choice_of_measure_pair_and_task_shows_that_one_and_its_table(opened):
    opened.selectbox(key="measure").set_value("Front loading").run()
    opened.selectbox(key="pair").set_value("zoo:masked").run()
    opened.selectbox(key="task").set_value("countdown").run()
    assert [element.value.replace("\\", "") for element in opened.subheader] == ["zoo:masked · countdown · prefix"]
    (table,) = [each.value for each in opened.dataframe if "significance" in each.value]
    assert table["estimate"].tolist() == pytest.approx([0.1, 0.22, 0.12])
    assert table["significance"].tolist() == ["", "", "▲"]


def test_a_choice_that_a_measure_does_not_have_is_not_offered(opened):
    opened.selectbox(key="measure").set_value("Verdict").run()
    assert "task" not in [box.key for box in opened.selectbox]
    assert not opened.exception


def test_what_failed_is_shown(opened):
    assert "sudoku: expected a tokenizer with digits" in words(opened)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "which has a manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "**expected** JSON"),
        (lambda folder: (folder / "manifest.json").write_text('{"units": 3}'), "a list of units"),
    ],
)
def test_a_bad_folder_is_told_with_its_remedy(tmp_path, monkeypatch, spoil, told):
    folder = write_run(tmp_path / "run", units=[])
    spoil(folder)
    app = app_on(folder, monkeypatch)
    assert len(app.error) == 1
    assert told in words(app)
    assert "do" in words(app)


def test_it_reads_only_the_folders_that_it_was_started_with(tmp_path, monkeypatch):
    write_run(tmp_path / "mine" / "one", units=[], question="Mine?")
    secret = write_run(tmp_path / "secret", units=[], question="Somebody else's?")
    (tmp_path / "mine" / "link").symlink_to(secret, target_is_directory=True)
    app = app_on(tmp_path / "mine", monkeypatch)
    assert app.text_input == []  # nothing to type a path into
    assert app.selectbox(key="run").options == [str(tmp_path / "mine" / "one")]
    assert app.title[0].value == "Mine\\?"


def test_it_answers_only_this_machine_and_shows_no_traceback():
    for folder in (APP.parents[1], APP.parent):  # started in the project, or elsewhere
        config = tomllib.loads((folder / ".streamlit" / "config.toml").read_text())
        assert config["server"]["address"] == "127.0.0.1"
        assert config["client"]["showErrorDetails"] == "none"


def test_no_click_waits_for_a_collection_of_all_garbage():
    """Streamlit's own setting looks through every object of torch and transformers after each run of a page."""
    config = tomllib.loads((APP.parent / ".streamlit" / "config.toml").read_text())
    assert config["runner"]["postScriptGC"] is False


def test_without_a_run_it_says_how_to_make_one(tmp_path, monkeypatch):
    deep = tmp_path / "nothing" / "here"  # beside `tmp_path` lie the runs of other tests
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    monkeypatch.setattr("sys.argv", ["main.py"])
    monkeypatch.delenv("TWINPROBE_RUN", raising=False)
    app = AppTest.from_file(str(APP), default_timeout=600).run()
    assert "twinprobe demo" in words(app)


def test_words_of_a_run_are_not_markup(tmp_path, monkeypatch):
    harmful = "<b>x</b> [y](javascript:z) :red[w] **v** $u$ `t`"
    app = app_on(write_run(tmp_path / "run", units=[], question=harmful), monkeypatch)
    escaped = app.title[0].value
    assert escaped.replace("\\", "") == harmful
    assert all(escaped[place - 1] == "\\" for place, sign in enumerate(escaped) if sign in "<>[]()*$`:")


def test_the_app_itself_never_writes_the_address():
    """A run of a page would send the address as it was when the run began, over what was chosen since."""
    for file in sorted(APP.parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("query_params"):
                assert node.attr == "get", (file.name, node.lineno)
            if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("query_params"):
                raise AssertionError(f"{file.name}, line {node.lineno}")
