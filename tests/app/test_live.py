"""The live pages, without a screen: each answers for the shipped twins, from what `analyses` says, and shares one
selection."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from tests.app.without_a_screen import PAGES, opened, words


@pytest.fixture
def app(tmp_path, monkeypatch) -> AppTest:
    return opened(tmp_path, monkeypatch)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens_on_the_shipped_twins_and_says_what_it_shows(app, page):
    app.switch_page(f"screens/{page}.py").run()
    assert not app.exception
    assert not app.error
    assert app.title[0].value.lower().startswith(page)


def test_the_start_says_how_to_make_a_run(app):
    assert not app.exception
    assert "twinprobe demo" in words(app)


def test_one_selection_serves_all_pages(app):
    app.switch_page("screens/lens.py").run()
    app.selectbox(key="on").set_value("greater_than").run()
    app.switch_page("screens/attention.py").run()
    assert app.selectbox(key="on").value == "greater_than"


def test_a_page_opens_from_its_address(tmp_path, monkeypatch):
    app = opened(tmp_path, monkeypatch, twins="zoo:fluid", on="induction", example="3")
    app.switch_page("screens/lens.py").run()
    assert (app.selectbox(key="twins").value, app.selectbox(key="on").value) == ("zoo:fluid", "induction")
    assert app.number_input(key="example").value == 3


def test_a_word_that_no_model_knows_is_said(app):
    app.switch_page("screens/write.py").run()
    app.text_input(key="prompt").set_value("When Zaphod and Keith went to the").run()
    assert not app.exception
    assert "Zaphod" in " ".join(warning.value for warning in app.warning)


def test_an_empty_prompt_or_no_model_is_a_sentence(app):
    app.switch_page("screens/write.py").run()
    app.multiselect(key="models").set_value([]).run()
    assert "Choose a model" in words(app)
    app.multiselect(key="models").set_value(["zoo:ar"]).run()
    app.text_input(key="prompt").set_value("").run()
    assert not app.exception


def test_a_try_is_listed_with_its_effect_and_zeroing_nothing_that_matters_moves_nothing(app):
    app.switch_page("screens/intervene.py").run()
    app.selectbox(key="instead").set_value("zero").run()
    app.selectbox(key="slot").set_value("every slot").run()
    (tries,) = [table.value for table in app.dataframe]
    assert tries["where"].iloc[0] == "stream after L0, every slot"
    assert tries["margin"].iloc[0] != tries["after"].iloc[0]
    assert "the answer breaks" in words(app)  # a stream that is set to nothing knows nothing


def test_two_sessions_on_the_same_models_do_not_disturb_each_other(tmp_path, monkeypatch):
    """One keeps changing a twin while the other reads it: what the reader sees stays as it was alone."""
    first, second = opened(tmp_path, monkeypatch), opened(tmp_path, monkeypatch)
    for app in (first, second):
        app.switch_page("screens/intervene.py").run()
        app.selectbox(key="site").set_value("head output").run()
    alone = second.dataframe[0].value["margin"].iloc[-1]
    for number in range(4):  # taking turns: streamlit's test tool runs one script at a time
        first.number_input(key="layer").set_value(number).run()
        second.number_input(key="head").set_value(number).run()
        assert not first.exception
        assert not second.exception
    assert set(second.dataframe[0].value["margin"]) == {alone}


def test_a_job_s_form_takes_no_path_and_one_that_asks_nothing_starts_nothing(app, tmp_path):
    app.switch_page("screens/jobs.py").run()
    assert app.text_area == []  # a spec that is typed could name any path
    next(box for box in app.multiselect if box.label == "Measures").set_value([]).run()
    app.button[0].click().run()
    assert not app.exception
    assert app.error
    assert not (tmp_path / "runs").exists()


def test_each_lens_is_a_switch_away(app):
    app.switch_page("screens/lens.py").run()
    for kind in ("tuned", "component"):
        app.get("button_group")[0].set_value(kind).run()
        assert not app.exception
        assert not app.error
    assert "by itself" in words(app)


def test_a_prompt_of_one_s_own_is_asked_and_one_that_does_not_line_up_is_a_sentence(app):
    app.switch_page("screens/intervene.py").run()
    app.toggle(key="own").set_value(True).run()
    assert not app.exception
    assert not app.error
    assert "on one prompt" in words(app)
    for page in ("lens", "attention"):
        app.switch_page(f"screens/{page}.py").run()
        assert not app.exception
        assert not app.error
    app.text_input(key="own_corrupt").set_value("Luke").run()
    assert not app.exception
    assert app.error


def test_a_change_may_be_of_some_steps_of_the_model_s_own_writing(tmp_path, monkeypatch):
    monkeypatch.setattr("app.live.EXAMPLES", 6)
    app = opened(tmp_path, monkeypatch)
    app.switch_page("screens/intervene.py").run()
    app.selectbox(key="on").set_value("countdown").run()
    assert not app.slider
    assert "With the reading “trajectory”" in words(app)
    app.selectbox(key="asked").set_value("trajectory: its own decoding")
    app.selectbox(key="instead").set_value("zero").run()
    assert app.slider(key="steps").value == (1, 5)
    assert "it writes another text for" in words(app)
    app.slider(key="steps").set_value((2, 3)).run()
    assert not app.exception
    assert not app.error
    assert "steps 2 to 3" in app.dataframe[0].value["where"].iloc[0]
    for deed in ("mean", "scale", "steer", "patch"):
        app.selectbox(key="instead").set_value(deed).run()
        assert not app.exception
        assert not app.error
    app.selectbox(key="source").set_value("other twin").run()  # which takes as many steps, in another order
    assert "← ar, clean prompt" in words(app)
    app.selectbox(key="on").set_value("ioi").run()  # one token, one step
    assert not app.slider
    assert not app.exception
