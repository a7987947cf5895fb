"""The live pages in a real browser: what is clicked happens, and what was chosen stands in the address."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.app.test_browser import _wait

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.slow]
ROOT = Path(__file__).parents[2]
STREAMLITS_OWN = "/_stcore/"  # it looks for its own server below the address of a page first, and is told 404


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = [f"--server.port={port}", "--server.headless=true"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("TWINPROBE_RUN", None)
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app" / "main.py"), *serve]
    server = subprocess.Popen(command, cwd=tmp_path_factory.mktemp("empty"), env=environment)
    try:
        _wait(f"http://127.0.0.1:{port}/_stcore/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


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


def state(found) -> dict:
    return found.evaluate("box => ({...box.twinprobe.state, pinned: undefined})")


def test_a_run_is_stepped_through_and_goes_on_from_a_token_written_by_hand(page, address):
    page.goto(f"{address}/write?models=zoo:masked&length=5", timeout=120_000)
    canvas = view(page, "canvas")
    canvas.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert state(canvas)["step"] == 1
    canvas.locator(".text .slot").last.click()
    second = canvas.locator(".panel .choice").nth(1)
    word = second.locator(".word").inner_text()
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


def test_pinned_nodes_are_run_alone(page, address):
    page.goto(f"{address}/circuits?twins=zoo:masked&on=ioi", timeout=120_000)
    graph = view(page, "circuit_graph")
    for node in (0, 1):
        graph.locator("circle.node").nth(node).click()
        graph.get_by_role("button", name="pin", exact=True).click()
    graph.get_by_role("button", name="how faithful is it?").click()
    expect(page.get_by_role("heading", name="The pinned nodes alone")).to_be_visible(timeout=120_000)
