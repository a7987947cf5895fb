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
from tests.probe.jobs.made_up import answered, depth, heads, index, write_run, write_unit

pytestmark = pytest.mark.slow

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
    return write_report(write_run(tmp_path_factory.mktemp("runs") / "demo", hypotheses=True))


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """A run as large as the demo: twenty-two measures on four tasks of four pairs, from three tables."""
    folder = tmp_path_factory.mktemp("runs") / "large"
    first = [write_unit(folder, result, pair="zoo:masked", task="ioi") for result in (index(0.1), depth(0.1), heads(0))]
    units = [
        {
            **first[number % 3],
            "id": f"{number}.{pair}.{task}",
            "measure": f"measure {number}",
            "pair": pair,
            "task": task,
        }
        for number in range(22)
        for pair in ("zoo:masked", "zoo:block", "zoo:fluid", "zoo:flow")
        for task in ("ioi", "greater_than", "countdown", "infilling")
    ]
    units += [write_unit(folder, answered(0.12), pair=pair, task="") for pair in ("zoo:masked", "zoo:block")]
    return write_report(write_run(folder, units=units))


def open_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    last = page.locator(".plot").last
    for plot in page.locator(".plot").all():
        plot.scroll_into_view_if_needed()
    last.scroll_into_view_if_needed()


@pytest.fixture(scope="module")
def opened(report, browser) -> Watched:
    """The report, opened once with all that can be opened, for tests that only look."""
    watched = Watched(browser.new_page(viewport={"width": 1300, "height": 900})).open(report)
    open_all(watched.page)
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


FIGURES = 14  # of the small run: three measures on two tasks of two pairs, and two verdicts


def test_every_figure_shows_without_an_error_or_a_request(report, opened):
    page = opened.page
    assert all_drawn(page) == FIGURES
    shapes = page.evaluate(
        "[...document.querySelectorAll('.plot')]"
        ".map(plot => plot.querySelectorAll('.cartesianlayer .trace, .hm image').length)"
    )
    assert min(shapes) > 0
    widths = page.evaluate("[...document.querySelectorAll('.main-svg')].map(p => p.getBoundingClientRect().width)")
    assert min(widths) > 300
    assert opened.complaints == []
    assert opened.requests == [report.as_uri()]


def test_a_figure_shows_the_numbers_of_its_table(report, opened):
    page = opened.page
    block = page.locator("details.block", has_text="zoo:masked · ioi").filter(
        has=page.locator("text=Front-loading index")
    )
    drawn = block.locator(".plot").evaluate("plot => Array.from(plot._fullData[0].x)")
    assert drawn == pytest.approx(index(0.01).table["estimate"].tolist())


SHOWN = "e => e.checkVisibility()"


def test_as_it_opens_it_has_one_figure_a_measure_and_draws_nothing_that_nobody_opened(large, watched):
    page = watched.open(large).page
    figures = page.locator("figure").evaluate_all(f"all => all.filter({SHOWN}).length")
    assert 8 < figures <= 25
    assert page.locator(".plot").count() == 22 * 16 + 2
    assert page.locator(".plot").evaluate_all(f"all => all.filter({SHOWN}).length") == 0
    assert page.evaluate("document.documentElement.scrollHeight") < 25 * 900  # the demo's was 520 screens
    assert page.locator("svg").count() > 22 / 3 * 16
    assert page.locator(".plot[data-state]").count() == 0


def test_what_a_large_page_shows_is_drawn_within_five_seconds(large, watched):
    session = watched.page.context.new_cdp_session(watched.page)
    session.send("Performance.enable")
    page = watched.open(large).page
    page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length == 1")
    metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    assert metrics["ProcessTime"] < 5.0  # of computing, which other work on this machine does not lengthen
    assert page.locator(".multiples svg").last.is_visible()


def test_a_figure_is_drawn_when_it_is_opened_and_a_link_opens_it(report, watched):
    page = watched.open(report).page
    assert page.locator(".plot[data-state]").count() == 0
    panel = page.locator(".multiples a.panel").first
    panel.click()
    drawn = page.locator(".plot[data-state=drawn]")
    expect(drawn).to_have_count(1, timeout=60_000)
    assert page.evaluate("location.hash") == panel.get_attribute("href")
    assert drawn.first.is_visible()


def pages_of(page: Page) -> int:
    return page.pdf(prefer_css_page_size=True).count(b"/Type /Page\n")


def test_it_prints_in_few_pages_complete_and_says_what_is_not_printed(large, watched):
    page = watched.open(large).page
    assert 5 < pages_of(page) <= 20
    page.emulate_media(media="print")
    words = page.locator("main").inner_text()
    assert words.count("Not printed: 16 figures with all") == 22
    assert "Where attribution sits" not in words  # a unit's own figure
    page.locator("details.more").first.evaluate("details => { details.open = true }")
    assert "Where attribution sits" not in page.locator("main").inner_text()  # nor when it was opened before
    assert page.locator(".multiples svg").evaluate_all(f"all => all.every({SHOWN})")


OVERLAPS = """() => {
  const parts = [...document.querySelectorAll(
    '.lead, .forest-row > span, .forest-row b, .panel .number, .labels span, .of-pair, .of-task, .legend > span, ' +
    'h1, h2, h3, summary')]
    .filter(e => e.checkVisibility() && e.getClientRects().length && e.innerText.trim());
  const boxes = parts.map(e => {
    const range = document.createRange(); range.selectNodeContents(e);
    return { e, r: range.getBoundingClientRect() };
  });
  const found = [];
  for (let i = 0; i < boxes.length; i++)
    for (let j = i + 1; j < boxes.length; j++) {
      const [a, b] = [boxes[i], boxes[j]];
      if (a.e.contains(b.e) || b.e.contains(a.e)) continue;
      const wide = Math.min(a.r.right, b.r.right) - Math.max(a.r.left, b.r.left);
      const high = Math.min(a.r.bottom, b.r.bottom) - Math.max(a.r.top, b.r.top);
      if (wide > 1 && high > 2) found.push(a.e.innerText + ' / ' + b.e.innerText);
    }
  return found;
}"""
SMALLEST = """() => Math.min(...[...document.querySelectorAll('body *')]
  .filter(e => e.checkVisibility() && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
  .map(e => parseFloat(getComputedStyle(e).fontSize)))"""


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_words_neither_collide_nor_shrink_nor_leave_the_page(report, watched, width):
    page = watched.page
    page.set_viewport_size({"width": width, "height": 900})
    watched.open(report)
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate(SMALLEST) >= 10
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelector('table.verdict').scrollWidth") <= width - 2 * 16  # nor need scrolling
    first = page.locator(".lead").first.bounding_box()
    assert first is not None
    assert first["y"] < 500  # the answer stands on the first screen
    forest = page.locator(".forest").bounding_box()
    assert forest is not None
    assert forest["y"] < (900 if width > 1000 else 2000)


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


def test_the_contents_lead_to_every_section_and_every_panel_to_its_figure(opened):
    page = opened.page
    broken = page.evaluate(
        "[...document.querySelectorAll('a[href^=\"#\"]')].filter(a => !document.getElementById(a.hash.slice(1))).length"
    )
    assert broken == 0
    assert page.locator(".contents a").count() == 7
    assert page.locator(".multiples a.panel").count() == 8  # the profile has no null, and nothing to show at a glance


def test_the_page_can_be_read_without_eyes(opened):
    page = opened.page
    tree = page.locator("main").aria_snapshot()
    assert 'heading "What came out" [level=2]' in tree
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
    open_all(page)
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
    open_all(page)
    expect(page.locator(".plot[data-state=drawn]")).to_have_count(1, timeout=120_000)
    expect(page.locator(".plot")).to_have_count(1)  # the report embeds nothing that is not what the run wrote
