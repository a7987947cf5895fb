"""The report as its reader meets it: in a real browser, without a network."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from analyses.result import Result
from probe.jobs.report.render import write_report
from tests.probe.jobs.made_up import depth, index, write_run, write_unit

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.slow]

HOSTILE = (
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 2</script>",
    "\"'><img src=x onerror=window.hacked=3>",
    "</title><svg onload=window.hacked=4>",
    "{{ 7 * 7 }}{% raise %}<!-- ]]> &lt;b&gt; \u2028 \u202e javascript:window.hacked=5",
)


class Watched:
    """A page with a list of all that should not happen on it."""

    def __init__(self, page: Page):
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self._complain(message.type, message.text))
        page.on("pageerror", lambda error: self._complain("error", str(error)))
        page.on("dialog", lambda dialog: self._complain("error", dialog.message))
        page.on("request", lambda request: self.requests.append(request.url))

    def _complain(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def open(self, path: Path) -> Watched:
        self.page.goto(path.as_uri())
        return self

    @property
    def asked_of_the_network(self) -> list[str]:
        return [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))]


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    return write_report(write_run(tmp_path_factory.mktemp("runs") / "demo"))


@pytest.fixture(scope="module")
def opened(report, browser) -> Watched:
    """The report, opened once and left until all is drawn, for tests that only look."""
    watched = Watched(browser.new_page(viewport={"width": 1300, "height": 900})).open(report)
    all_drawn(watched.page)
    return watched


@pytest.fixture
def watched(browser):
    context = browser.new_context(viewport={"width": 1300, "height": 900})
    yield Watched(context.new_page())
    context.close()


def all_drawn(page: Page) -> int:
    plots = page.locator(".plot")
    expect(page.locator(".plot[data-state=drawn]")).to_have_count(plots.count(), timeout=120_000)
    return plots.count()


def test_every_figure_shows_without_an_error_or_a_request(report, opened):
    page = opened.page
    assert all_drawn(page) == 12
    shapes = page.evaluate(
        "[...document.querySelectorAll('.plot')]"
        ".map(plot => plot.querySelectorAll('.cartesianlayer .trace, .hm image').length)"
    )
    assert min(shapes) > 0
    widths = page.evaluate("[...document.querySelectorAll('.main-svg')].map(p => p.getBoundingClientRect().width)")
    assert min(widths) > 300
    assert opened.complaints == []
    assert opened.requests == [report.as_uri()]


def test_a_figure_shows_the_numbers_of_its_table(opened):
    page = opened.page
    drawn = page.evaluate("Array.from(document.querySelector('#figure-1-front-loading .plot')._fullData[0].x)")
    assert drawn == pytest.approx(index(0.01).table["estimate"].tolist())


def test_figures_are_drawn_when_they_come_near_and_all_of_them_for_paper(report, watched):
    page = watched.page
    page.add_init_script("window.requestIdleCallback = () => {}")  # a reader whose browser is never idle
    watched.open(report)
    expect(page.locator(".plot[data-state=drawn]").first).to_be_attached(timeout=120_000)
    assert page.locator(".plot:not([data-state])").count() > 6
    page.locator(".plot").last.scroll_into_view_if_needed()
    expect(page.locator(".plot").last).to_have_attribute("data-state", "drawn", timeout=120_000)
    assert page.locator(".plot:not([data-state])").count() > 3
    # For paper all are drawn, however little was read.
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert all_drawn(page) == 12
    widths = page.evaluate("[...document.querySelectorAll('.plot')].map(p => p._fullLayout.width)")
    assert set(widths) == {660}
    assert page.locator("details.numbers:not([open])").count() == 0
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details.numbers:not([open])").count() > 0


def test_it_prints(opened):
    page = opened.page
    sheets = page.pdf(prefer_css_page_size=True).count(b"/Type /Page\n")
    assert 6 < sheets < 40
    assert opened.complaints == []


def test_a_page_that_turns_dark_has_light_ink_in_its_figures(opened):
    page = opened.page
    for scheme, ink, paper in (("dark", "#e6e2d9", "rgb(23, 24, 26)"), ("light", "#1f1d1a", "rgb(253, 252, 249)")):
        page.emulate_media(color_scheme=scheme)  # the page hears of it some time after this returns
        page.wait_for_function("ink => document.querySelector('.plot')._fullLayout.font.color === ink", arg=ink)
        all_drawn(page)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper


def test_it_opens_at_once_and_stays_small(report, watched):
    assert report.stat().st_size < 10_000_000
    session = watched.page.context.new_cdp_session(watched.page)
    session.send("Performance.enable")
    watched.open(report)
    # Computing time, which other work on this machine does not lengthen.
    metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    assert metrics["ProcessTime"] < 2.0
    # The first frame may come after the load event; that it comes is what counts.
    watched.page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length == 1")


def test_the_contents_lead_to_every_section_and_every_cell_to_its_figure(opened):
    page = opened.page
    broken = page.evaluate(
        "[...document.querySelectorAll('a[href^=\"#\"]')].filter(a => !document.getElementById(a.hash.slice(1))).length"
    )
    assert broken == 0
    assert page.locator(".contents a").count() == 7
    assert page.locator(".grid .cell").count() == 12


def test_the_page_can_be_read_without_eyes(opened):
    page = opened.page
    tree = page.locator("main").aria_snapshot()
    assert 'heading "Findings" [level=2]' in tree
    assert 'img "Front-loading index of each twin' in tree  # a figure has words, and its numbers follow
    levels = [int(name[1]) for name in page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => h.tagName)")]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    unnamed = page.evaluate(
        "[...document.querySelectorAll('[role=img], nav, [role=region]')].filter(e => !e.ariaLabel).length"
    )
    assert unnamed == 0


@pytest.fixture(scope="module")
def hostile_report(tmp_path_factory) -> Path:
    """A run whose every string was written by someone who means harm."""
    folder = tmp_path_factory.mktemp("runs") / "hostile"
    words = " ".join(HOSTILE)
    table = pd.DataFrame({"model": HOSTILE, "estimate": 0.5, "low": 0.4, "high": 0.6, "null": 0.0, "n": 3})
    about = {"axes": {"rows": ["model"], "x_title": words}, "finding": words}
    harmful = Result("harm", table, words, words, "forest", about)
    names = {"pair": HOSTILE[1], "task": HOSTILE[2], "notes": list(HOSTILE), "command": words}
    units = [
        {**write_unit(folder, harmful, pair="zoo:masked", task="ioi"), **names, "measure": words, "reading": words},
        {"id": words, "status": "failed", "error": {"kind": words, "message": words, "traceback": words}, **names},
        {"id": words + "2", "status": "skipped", "error": {"kind": "skipped", "message": words}, **names},
    ]
    facts = {"versions": {words: words}, "device": {words: words}, "git": {"commit": words}, "seeds": [words]}
    weights = {words: {"sha256": words, "described": words}}
    write_run(folder, failed=False, name=words, question=words, weights=weights, units=units, started=words, **facts)
    (folder / "spec.yaml").write_text(f"question: {json.dumps(words)}\n")
    return write_report(folder)


@pytest.mark.parametrize("protected", [True, False], ids=["with the policy", "by escaping alone"])
def test_no_string_of_a_run_becomes_markup(hostile_report, browser, protected):
    context = browser.new_context(bypass_csp=not protected)
    watched = Watched(context.new_page()).open(hostile_report)
    page = watched.page
    assert all_drawn(page) == 1
    assert page.evaluate("window.hacked === undefined")
    assert page.locator("body img").count() == 0
    assert page.locator("script:not([type])").count() == 2  # this package's own, and Plotly once it has started
    shown = page.locator("h1").text_content()
    assert shown is not None
    assert " ".join(shown.split()) == " ".join(" ".join(HOSTILE).split())
    assert watched.complaints == []
    assert watched.asked_of_the_network == []
    context.close()


def test_a_script_that_slipped_in_would_not_run(report, tmp_path, watched):
    page_with_harm = tmp_path / "harmed.html"
    harm = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'></main>"
    page_with_harm.write_text(report.read_text("utf-8").replace("</main>", harm, 1), "utf-8")
    page = watched.open(page_with_harm).page
    assert page.evaluate("window.hacked === undefined")
    assert any("Content Security Policy" in complaint for complaint in watched.complaints)


def test_a_figure_that_is_none_is_left_out_and_the_others_are_drawn(tmp_path, watched):
    folder = tmp_path / "run"
    units = [write_unit(folder, result, pair="zoo:masked", task="ioi") for result in (index(0.1), depth(0.1))]
    (folder / units[0]["figure"]).write_text('{"data": 7}')
    write_run(folder, units=units)
    page = watched.open(write_report(folder)).page
    expect(page.locator(".plot[data-state=drawn]")).to_have_count(1, timeout=120_000)
    expect(page.locator(".plot")).to_have_count(1)  # the report embeds nothing that is not what the run wrote
