"""How fast the app answers: the first page, clicks on a shipped pair, and how long a view works on a frame.

    python tests/benchmarks/app.py [--repeats 3]

A headless Chromium does what a person does. The first page is timed from the address until its three guided views are
there, in a browser that has seen nothing of the app. A click is timed until the page says what was asked for and
nothing runs any more, on twins that are loaded; a click on the same thing again is not counted, since it costs nothing.
A frame is the work of the view itself in one step of its slider, at 128 tokens × 128 passes and at 1,000 edges: its
median and its longest, of which 16.7 ms leaves 60 frames a second. Times are wall-clock, which a busy machine makes
longer (its load is told); beside each stands the CPU time that the app itself took for it, which it hardly changes.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.app.server import serving
from tests.benchmarks.frame import arguments, main, show
from tests.probe.views.drawings import canvas, circuit_graph

IDLE = "[data-testid=stApp][data-test-script-state=notRunning]"
FRAMES = """([slider, values]) => {
    const input = document.querySelector(slider), times = [];
    for (const value of values) {
        const began = performance.now();
        input.value = value;
        input.dispatchEvent(new Event('input'));
        document.body.getBoundingClientRect();  // what the step changed is laid out too
        times.push(performance.now() - began);
    }
    return times;
}"""
PAGES = ("write", "lens", "attention", "circuits", "intervene", "depth", "specialisation", "jobs")


def run() -> None:
    options = arguments(__doc__, repeats=3)
    with (
        sync_playwright() as playwright,
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as (address, process),
    ):
        found = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=found)
        app = Cpu(process)
        rows = [first_page(browser, address, app, options.repeats)]
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        rows += [opened(page, address, app, name) for name in PAGES]
        rows += clicks(page, address, app, options.repeats)
        page.close()
        pictures = {
            "canvas, 128 tokens × 128 passes": (canvas(128, 128), range(129)),
            "circuit graph, 1,000 edges": (circuit_graph(1000), range(1, 1001, 8)),
        }
        frames = [frames_of(browser, what, view.page(), values) for what, (view, values) in pictures.items()]
        browser.close()
    show(f"How fast the app answers ({os.cpu_count()} cores, load {os.getloadavg()[0]:.1f})", rows, options.markdown)
    show("How long a view works on a frame", frames, options.markdown)


@dataclass(frozen=True)
class Cpu:
    """The CPU time of a process."""

    process: int

    def seconds(self) -> float:
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


Spent = list[tuple[float, float]]  # seconds of the clock, and of the app's CPU


def spent(app: Cpu, act: Callable[[], object]) -> tuple[float, float]:
    began, used = time.perf_counter(), app.seconds()
    act()
    return time.perf_counter() - began, app.seconds() - used


def first_page(browser: Browser, address: str, app: Cpu, repeats: int) -> dict[str, Any]:
    def once() -> None:
        page = browser.new_context().new_page()
        page.goto(address)
        page.get_by_role("link", name="Open").nth(2).wait_for()
        page.context.close()

    return row("first page, new browser", [spent(app, once) for _ in range(repeats + 1)])


def opened(page: Page, address: str, app: Cpu, name: str) -> dict[str, Any]:
    """A page the first time, when its models are loaded and asked; and again."""

    def once() -> None:
        page.goto(f"{address}/{name}?twins=zoo:masked&on=ioi")
        settled(page)

    return row(f"{name}, opened", [spent(app, once), spent(app, once)])


def settled(page: Page) -> None:
    page.locator("h1").first.wait_for(timeout=300_000)
    page.wait_for_timeout(100)
    page.locator(IDLE).wait_for(timeout=300_000)


def clicks(page: Page, address: str, app: Cpu, repeats: int) -> list[dict[str, Any]]:
    """What one does most, each on something not asked before."""

    def timed(what: str, name: str, act: Callable[[int], None]) -> dict[str, Any]:
        page.goto(f"{address}/{name}?twins=zoo:masked&on=ioi")
        settled(page)

        def once(turn: int) -> None:
            act(turn)
            page.wait_for_timeout(50)
            page.locator(IDLE).wait_for(timeout=300_000)

        return row(what, [spent(app, lambda turn=turn: once(turn)) for turn in range(repeats)])

    def more(label: str) -> Callable[[int], None]:
        return lambda _: page.get_by_role("spinbutton", name=label).press("ArrowUp")

    def patch(turn: int) -> None:
        grids = page.locator("table.grid")
        grids.nth(0).locator("td").nth(70 + turn).drag_to(grids.nth(1).locator("td").nth(71 + turn))

    def faithful(turn: int) -> None:
        page.locator("circle.node").nth(turn).click(modifiers=["Control"])
        page.get_by_role("button", name="how faithful is it?").click()

    return [
        timed("lens, next example", "lens", more("Example")),
        timed("attention, next example", "attention", more("Example")),
        timed("intervene, a cell dragged onto another", "intervene", patch),
        timed("circuits, pinned nodes run alone", "circuits", faithful),
        timed("write, another seed", "write", more("Seed")),
    ]


def row(what: str, found: Spent) -> dict[str, Any]:
    first, warm = found[0], found[1:] or found
    clock, cpu = (median(one[at] for one in warm) for at in (0, 1))
    return {"what": what, "first": f"{first[0]:.2f} s", "of it the app": f"{first[1]:.2f} s",
            "warm": f"{clock:.2f} s", "the app": f"{cpu:.2f} s"}  # fmt: skip


def frames_of(browser: Browser, what: str, html: str, values: range) -> dict[str, Any]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_content(html)
    took = sorted(page.evaluate(FRAMES, ["input[type=range]", list(values)]))
    page.close()
    middle = median(took)
    return {"view": what, "median": f"{middle:.1f} ms", "longest": f"{took[-1]:.1f} ms",
            "frames a second": f"{min(60, 1000 / middle):.0f}"}  # fmt: skip


if __name__ == "__main__":
    main(run)
