"""The app in a real browser, since a chart that is not drawn is seen nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from tests.app.pages import settled, until
from tests.app.server import ROOT, serving
from tests.probe.jobs import made_up
from tests.probe.jobs.made_up import QUESTION, write_run

pytestmark = pytest.mark.slow


OWN = "/_stcore/"  # Streamlit looks for its own server below the address of a page first, and is told 404
PAIRS = ("zoo:masked", "zoo:block", "zoo:fluid", "zoo:flow")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two runs: one of measures, and one that answers hypotheses for as many pairs as the demo has."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(made_up, "PAIRS", PAIRS)
        write_run(folder / "verdict", hypotheses=True, failed=False)
    write_run(folder / "demo")
    return folder


@pytest.fixture(scope="module")
def address(folder) -> Iterator[str]:
    """Where the app is served, started as the README says."""
    with serving(ROOT, str(folder)) as (address, _):
        yield address


def is_error(said: ConsoleMessage) -> bool:
    return said.type == "error" and "404" not in said.text


@pytest.fixture(scope="module")
def page(browser, address) -> Page:
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.errors, page.elsewhere = [], []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda said: page.errors.append(said.text) if is_error(said) else None)
    page.on("response", lambda got: page.errors.append(got.url) if got.status >= 400 and OWN not in got.url else None)
    page.on("request", lambda asked: None if asked.url.startswith((address, "data:", "blob:"))
            else page.elsewhere.append(asked.url))  # fmt: skip
    page.goto(address, timeout=120_000)
    expect(page.get_by_role("heading", name=QUESTION)).to_be_visible(timeout=180_000)
    return page


def choose(page: Page, name: str, value: str) -> None:
    box = page.get_by_role("combobox", name=name)
    box.click(timeout=120_000)
    page.get_by_role("option", name=value, exact=True).click()


def test_its_charts_are_drawn(page):
    expect(page.locator(".js-plotly-plot .cartesianlayer .trace").first).to_be_attached(timeout=300_000)
    expect(page.locator(".js-plotly-plot")).to_have_count(4, timeout=120_000)
    until(page, lambda: page.locator(".js-plotly-plot .main-svg").first.bounding_box(), lambda box: box["width"] > 300)


def test_a_choice_draws_another_chart(page):
    choose(page, "Measure", "Attention")
    expect(page.get_by_role("heading", name="Attention", exact=True)).to_be_visible(timeout=120_000)
    choose(page, "Pair", "zoo:fluid")
    choose(page, "Task", "ioi")
    expect(page.locator(".js-plotly-plot")).to_have_count(1, timeout=120_000)
    expect(page.locator(".js-plotly-plot .hm image")).to_have_count(1, timeout=120_000)


def test_the_table_of_hypotheses_is_read_without_scrolling(page, address, folder):
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{address}/runs?run={quote(str(folder / 'verdict'))}", timeout=120_000)
    table = page.get_by_test_id("stTable")
    expect(table).to_be_visible(timeout=180_000)
    measured = """box => {
        const main = document.querySelector('[data-testid=stMainBlockContainer]').getBoundingClientRect();
        const inner = [box, ...box.querySelectorAll('*')];
        return [inner.filter(one => one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0).length,
                box.getBoundingClientRect().right <= main.right, box.innerText];
    }"""
    hidden, within, words = settled(page, lambda: table.evaluate(measured))
    assert hidden == 0
    assert within
    assert all(pair in words for pair in PAIRS)
    assert "Decided by" in words


def test_it_asks_nobody_else_and_complains_of_nothing(page):
    assert page.elsewhere == []
    assert page.errors == []
