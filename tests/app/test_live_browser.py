"""The live pages in a real browser: what is clicked happens, and what was chosen stands in the address."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from app.component import read
from probe.views import component
from tests.app.pages import settled, until
from tests.app.server import serving

pytestmark = pytest.mark.slow
STREAMLITS_OWN = "/_stcore/"  # it looks for its own server below the address of a page first, and is told 404


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("empty")) as (address, _):
        yield address


@pytest.fixture
def page(browser, address) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "console", lambda said: faults.append(said.text) if said.type == "error" and "404" not in said.text else None
    )
    page.on(
        "response", lambda got: faults.append(got.url) if got.status >= 400 and STREAMLITS_OWN not in got.url else None
    )
    page.on(
        "request", lambda asked: None if asked.url.startswith((address, "data:", "blob:")) else faults.append(asked.url)
    )
    yield page
    assert faults == []
    page.close()


def view(page: Page, kind: str):
    found = page.locator(f".tp.{kind}").first
    expect(found).to_be_visible(timeout=180_000)
    return found


def test_a_run_is_stepped_through_and_goes_on_from_a_token_written_by_hand(page, address):
    page.goto(f"{address}/write?models=zoo:masked&length=5", timeout=120_000)
    canvas = view(page, "canvas")
    canvas.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    until(page, lambda: canvas.evaluate("box => box.twinprobe.state.step"), lambda step: step == 1)
    canvas.locator(".text .slot").last.click()
    second = canvas.locator(".panel .choice").nth(1)
    word = settled(page, lambda: second.locator(".word").inner_text())
    second.click()
    expect(page.get_by_text("was written at slot")).to_be_visible(timeout=120_000)
    expect(view(page, "canvas").locator(".text .slot").last).to_have_text(word)
    page.get_by_role("button", name="Undo all").click()
    expect(page.get_by_text("was written at slot")).to_have_count(0, timeout=120_000)


def test_a_cell_of_the_lens_is_opened_and_its_token_pinned_everywhere(page, address):
    page.goto(f"{address}/lens?twins=zoo:masked&on=ioi&example=2", timeout=120_000)
    grid = view(page, "lens_grid")
    grid.locator("table.grid").nth(1).locator("td").nth(20).click()
    grid.locator(".panel .choice").nth(3).click()
    expect(view(page, "lens_grid").locator(".bar button")).to_have_count(4, timeout=120_000)  # best, answer, other, pin


def test_the_address_is_the_view(page, address):
    page.goto(f"{address}/attention", timeout=120_000)
    view(page, "attention")
    box = page.get_by_role("combobox", name="Task")
    box.click()
    page.get_by_role("option", name="greater_than", exact=True).click()
    expect(page).to_have_url(re.compile("on=greater_than"), timeout=60_000)
    expect(page.locator(".tp.attention h3")).to_contain_text("greater_than", timeout=120_000)
    page.reload(timeout=120_000)
    expect(page.locator(".tp.attention h3")).to_contain_text("greater_than", timeout=120_000)


def test_the_browser_alone_writes_the_address_and_loses_nothing_that_was_chosen_meanwhile(page, address):
    page.goto(f"{address}/attention?on=greater_than", timeout=120_000)
    found = view(page, "attention")
    found.locator(".choice.head").nth(3).click()
    page.get_by_role("combobox", name="Task").click()  # before the view's choice stands in the address
    page.get_by_role("option", name="ioi", exact=True).click()
    expect(page).to_have_url(re.compile("attention_head=.*"), timeout=60_000)
    expect(page.locator(".tp.attention h3")).to_contain_text("ioi", timeout=120_000)
    assert "greater_than" not in page.url
    page.get_by_role("link", name="Lens", exact=True).click()
    view(page, "lens_grid")
    assert "attention_head" not in page.url
    page.get_by_role("link", name="Attention", exact=True).click()
    view(page, "attention")
    expect(page).to_have_url(re.compile("attention_head=.*"), timeout=60_000)  # the page remembers what was chosen


def test_opening_a_page_is_one_run_of_it_and_what_the_browser_can_answer_is_none(page, address):
    asked: list[bytes | str] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: asked.append(frame)))
    page.goto(f"{address}/attention?twins=zoo:masked&on=ioi", timeout=120_000)
    found = view(page, "attention")
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible(timeout=60_000)
    page.wait_for_timeout(600)
    opened = len(asked)
    found.locator(".choice.head").nth(2).click()
    expect(page).to_have_url(re.compile("attention_head=.*"), timeout=60_000)
    page.wait_for_timeout(600)
    assert len(asked) == opened == 1


def test_what_a_view_writes_in_the_address_is_read_back(browser):
    said = [7, "L1H2", ["L1H2", "MLP 0"], ["input"], [["copiers", ["L1H2", "L1H3"]], ["late", []]], "both", -3]
    page = browser.new_page()
    code = component("canvas") + "\nexport { addressed };"
    write = """async ([code, said]) => {
        const module = await import("data:text/javascript," + encodeURIComponent(code));
        return [...said, null, []].map(module.addressed);
    }"""
    wrote = until(page, lambda: page.evaluate(write, [code, said]), bool)
    page.close()
    assert wrote[-2:] == ["", ""]
    assert [read(text) for text in wrote[:-2]] == said


def test_pinned_nodes_are_run_alone(page, address):
    page.goto(f"{address}/circuits?twins=zoo:masked&on=ioi", timeout=120_000)
    graph = view(page, "circuit_graph")
    for node in (0, 1):
        graph.locator("circle.node").nth(node).click()
        graph.get_by_role("button", name="pin", exact=True).click()
    graph.get_by_role("button", name="how faithful is it?").click()
    expect(page.get_by_role("heading", name="The pinned nodes alone")).to_be_visible(timeout=120_000)


def test_a_guided_view_opens_what_it_says_whatever_was_chosen_before(page, address):
    page.goto(f"{address}/?twins=zoo:fluid", timeout=120_000)
    page.get_by_role("link", name="Open").nth(1).click(timeout=120_000)
    expect(page.get_by_role("heading", name="In zoo:masked, L2H3 took over from L0H0")).to_be_visible(timeout=180_000)
    expect(page.get_by_text("Without L2H3, the answer holds")).to_be_visible()
    page.get_by_role("link", name="Take L2H3 out of the twin").click()
    expect(page.get_by_role("heading", name="L2H3, every slot ← zero: the answer holds")).to_be_visible(timeout=120_000)


def test_a_cell_that_is_dragged_is_patched_and_what_cannot_move_is_hatched(page, address):
    page.goto(f"{address}/intervene?twins=zoo:masked&on=ioi&in=ar&source=corrupt prompt", timeout=120_000)
    grids = view(page, "lens_grid").locator("table.grid")
    wide = settled(page, lambda: grids.nth(0).locator("thead th").count()) - 1
    row = 4  # from the top: L5, …, L1
    grids.nth(0).locator("td").nth(row * wide + 10).drag_to(grids.nth(1).locator("td").nth(row * wide + 12))
    expect(page.get_by_role("heading", name="stream after L1, slot 12")).to_be_visible(timeout=120_000)
    expect(page).to_have_url(re.compile("from_slot=10"), timeout=60_000)
    changed = view(page, "lens_grid").locator("table.grid").nth(2).locator("td")
    kinds = until(
        page, lambda: changed.evaluate_all("all => all.map(td => td.className)"), lambda found: "put" in found
    )
    assert [at for at, kind in enumerate(kinds) if kind == "put"] == [row * wide + 12]
    assert set(kinds[:12]) == {"beyond"}  # the AR model's last layer, left of the change
    view(page, "lens_grid").locator("table.grid").nth(1).locator("td").nth(row * wide + 3).click()
    page.get_by_role("button", name="zero it").click()
    expect(page.get_by_role("heading", name="stream after L1, slot 3 ← zero")).to_be_visible(timeout=120_000)


def test_a_change_at_some_steps_stands_in_the_address_and_moves_nothing_before_them(page, address):
    where = "twins=zoo:masked&on=countdown&asked=trajectory: its own decoding&instead=zero&slot=9&layer=1"
    page.goto(f"{address}/intervene?{where}", timeout=120_000)
    expect(page.get_by_role("heading", name="stream after L1, slot 9 ← zero")).to_be_visible(timeout=180_000)
    page.locator("[data-testid=stSlider] input").first.press("ArrowRight")
    heading = page.get_by_role("heading", name="stream after L1, slot 9, step 2 on ← zero")
    expect(heading).to_be_visible(timeout=120_000)
    expect(page).to_have_url(re.compile("steps=2"), timeout=60_000)
    grid = view(page, "lens_grid")

    look = """box => [box.querySelector('output').textContent,
        [...box.querySelectorAll('table.grid')[2].querySelectorAll('td')].map(td => td.className)]"""
    _, kinds = until(page, lambda: grid.evaluate(look), lambda found: found[0] == "2 of 5")
    assert len([kind for kind in kinds if kind == "put"]) == 1
    grid.get_by_label("step", exact=True).press("ArrowLeft")
    _, kinds = until(page, lambda: grid.evaluate(look), lambda found: found[0] == "1 of 5")
    assert set(kinds) == {"beyond"}
    page.reload(timeout=120_000)
    expect(heading).to_be_visible(timeout=120_000)


def test_nodes_are_grouped_under_a_name_and_the_link_says_so(page, address):
    page.goto(f"{address}/circuits?twins=zoo:masked&on=ioi", timeout=120_000)
    graph = view(page, "circuit_graph")
    for node in (0, 1):
        graph.locator("circle.node").nth(node).click(modifiers=["Control"])
    graph.get_by_label("name of the group").fill("copiers")
    graph.get_by_role("button", name="group", exact=True).click()
    expect(graph.locator("svg text", has_text="copiers").first).to_be_visible()
    expect(page).to_have_url(re.compile("circuits_groups=copiers"), timeout=60_000)
    page.reload(timeout=120_000)
    expect(view(page, "circuit_graph").locator("svg text", has_text="copiers").first).to_be_visible(timeout=120_000)


FIGURES = {"depth": 4, "specialisation": 3}  # of a page, with one part of the difference


@pytest.mark.parametrize("kind", FIGURES)
def test_a_difference_is_taken_apart_and_the_link_shows_its_parts(kind, page, address):
    def finds() -> dict[str, list[int]]:
        """The number of points in each trace of each figure, by the heading above it."""
        expect(page.get_by_text("The weights account for")).to_be_visible(timeout=180_000)
        figures = page.locator(".js-plotly-plot")
        expect(figures).to_have_count(FIGURES[kind], timeout=60_000)
        return settled(
            page, lambda: figures.evaluate_all("all => all.map(one => one.calcdata.map(trace => trace.length))")
        )

    page.goto(f"{address}/{kind}?twins=zoo:masked&on=ioi", timeout=120_000)
    expect(page.locator("h4").first).to_contain_text("zoo:masked", timeout=180_000)
    page.get_by_role("button", name="Weights or mask? (2×2)").click()
    found, sentence = finds(), settled(page, lambda: page.locator("h4").first.inner_text())
    assert found
    assert all(sum(points) > 0 for points in found)
    expect(page).to_have_url(re.compile("_parts="), timeout=60_000)
    page.reload(timeout=120_000)
    assert finds() == found
    assert settled(page, lambda: page.locator("h4").first.inner_text()) == sentence
    page.get_by_role("button", name="Weights or mask? (2×2)").click()
    expect(page.get_by_text("The weights account for")).to_have_count(0, timeout=60_000)


def test_a_job_is_filled_in_run_cancelled_run_on_and_read(page, address):
    page.goto(f"{address}/jobs", timeout=120_000)
    page.get_by_role("combobox", name="Measures").click()
    for _ in range(4):
        page.keyboard.press("Backspace")  # all but the first
    page.keyboard.press("Escape")
    page.get_by_role("spinbutton", name="Prompts a task").fill("8")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("stCode").first).to_contain_text("examples: 8", timeout=60_000)
    expect(page.get_by_test_id("stCode").first).not_to_contain_text("overlap")
    page.get_by_role("button", name="Run it").click()
    page.get_by_role("button", name="Cancel").click(timeout=60_000)
    expect(page.get_by_text("stopped (exit status")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Run it").click()
    expect(page.get_by_text("1 of 1 measures done")).to_be_visible(timeout=180_000)
    page.get_by_role("link", name="Read it").click(timeout=60_000)
    expect(page.get_by_role("heading", name="Findings")).to_be_visible(timeout=120_000)
    with page.expect_download(timeout=60_000) as got:
        page.get_by_role("button", name="spec.yaml").click()
    assert "examples: 8" in got.value.path().read_text("utf-8")


def test_two_browsers_at_once_do_not_disturb_each_other(browser, address):
    """Both ask at the same moment, each about another model, over and over; each sees what it would see alone."""

    def seen(page: Page) -> str:
        return settled(page, lambda: page.locator("h4").first.inner_text())

    links = [f"{address}/intervene?twins={twins}&on=ioi&in={role}&site=head output&slot=every slot&instead=zero"
             for twins, role in (("zoo:masked", "diffusion"), ("zoo:fluid", "ar"))]  # fmt: skip
    alone: list[list[str]] = []
    together: list[list[str]] = [[], []]
    pages = [browser.new_context().new_page() for _ in links]
    for page, link in zip(pages, links, strict=True):
        page.goto(link, timeout=120_000)
        expect(page.get_by_role("heading", name="L0H0, every slot ← zero")).to_be_visible(timeout=180_000)
        alone.append([seen(page)])
        for head in (1, 2):
            page.get_by_role("spinbutton", name="Head").press("ArrowUp")
            expect(page.get_by_role("heading", name=f"L0H{head}, every slot ← zero")).to_be_visible(timeout=120_000)
            alone[-1].append(seen(page))
        page.context.close()
    pages = [browser.new_context().new_page() for _ in links]
    for page, link in zip(pages, links, strict=True):
        page.goto(f"{link}&example=1", timeout=120_000, wait_until="commit")  # neither waits for the other
    for head in range(3):
        for page, found in zip(pages, together, strict=True):
            expect(page.get_by_role("heading", name=f"L0H{head}, every slot ← zero")).to_be_visible(timeout=180_000)
            found.append(seen(page))
        for page in pages:
            page.get_by_role("spinbutton", name="Head").press("ArrowUp")
    for page in pages:
        page.context.close()
    assert together == alone
