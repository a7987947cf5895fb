"""Screenshots of the app's pages, small enough to be kept: each is what a browser shows of a page at its address.

    python docs/screenshots.py docs/figures/app                          # every page, light, 1280 pixels wide
    python docs/screenshots.py OUT --pages lens,circuits --width 1920 --theme dark
    python docs/screenshots.py OUT --run runs/demo                       # with a finished run to read

It starts the app, opens each page in a headless Chromium, waits until nothing runs, does what `ACTS` says (click a
head, pin a node), and saves the page with 256 colours. About a minute on two cores.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
PAGES = {
    "start": "",
    "write": "write?models=zoo:ar&models=zoo:masked&models=zoo:fluid",
    "lens": "lens?twins=zoo:masked&on=ioi&example=2",
    "attention": "attention?twins=zoo:masked&on=ioi&example=2",
    "circuits": "circuits?twins=zoo:masked&on=ioi",
    "intervene": "intervene?twins=zoo:masked&on=ioi&example=2&in=ar",
    "depth": "depth?twins=zoo:masked&on=ioi",
    "specialisation": "specialisation?twins=zoo:masked&on=ioi",
    "jobs": "jobs",
    "runs": "runs",
}
COLOURS = 256
TALLEST = 1700


def main() -> None:
    ask = argparse.ArgumentParser(description="Screenshots of the app's pages.")
    ask.add_argument("out", type=Path)
    ask.add_argument("--pages", default=",".join(PAGES))
    ask.add_argument("--width", type=int, default=1280)
    ask.add_argument("--height", type=int, default=900)
    ask.add_argument("--theme", choices=("light", "dark"), default="light")
    ask.add_argument("--run", type=Path)
    asked = ask.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with serving(asked.run) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium") or shutil.which("google-chrome"))
        size = {"width": asked.width, "height": asked.height}
        page = browser.new_page(viewport=size, color_scheme=asked.theme)
        for name in asked.pages.split(","):
            path = PAGES[name]
            if name == "runs" and asked.run:
                path = f"runs?run={quote(str(asked.run))}"
            page.goto(f"{address}/{path}", timeout=120_000)
            settle(page)
            if name == "start" and asked.run:  # an app that is given a run begins with it
                page.get_by_role("link", name="Start").first.click()
                settle(page)
            if name in ACTS:
                ACTS[name](page)
                settle(page)
            save(page, asked.out / f"{name}.png")
            print(asked.out / f"{name}.png", flush=True)
        browser.close()


@contextmanager
def serving(run: Path | None = None) -> Iterator[str]:
    """The app's address, as long as it is wanted."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        "app/main.py",
        f"--server.port={port}",
        "--server.headless=true",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    server = subprocess.Popen([*command, *(["--", str(run)] if run else [])], cwd=ROOT, env=environment)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(20)


def settle(page: Page) -> None:
    """Until the script has run, what it drew is there, and nothing spins."""
    page.wait_for_selector("[data-testid=stMainBlockContainer] h1", timeout=300_000)
    for _ in range(2):
        page.wait_for_timeout(700)
        page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=300_000)
    page.wait_for_function("() => !document.querySelector('[data-testid=stSpinner], [data-testid=stSkeleton]')")


def save(page: Page, path: Path) -> None:
    """The whole page, as high as what it holds, in few colours."""
    width = (page.viewport_size or {"width": 1280})["width"]
    high = page.evaluate("() => document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": width, "height": max(500, min(TALLEST, int(high)))})
    page.wait_for_timeout(500)
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE).save(path, optimize=True)
    page.set_viewport_size({"width": width, "height": 900})


def look_closer(page: Page) -> None:
    """Step back in each run, and click what was about to be written."""
    for canvas in page.locator(".tp.canvas").all():
        canvas.focus()
        for _ in range(4):
            page.keyboard.press("ArrowLeft")
        canvas.locator(".text .slot.open, .text .slot").last.click()


def open_a_cell(page: Page) -> None:
    page.locator("table.grid").nth(1).locator("td").nth(4 * 16 + 11).click()


def drag_a_name(page: Page) -> None:
    """The embedding of one name, onto that of the other."""
    grids = page.locator("table.grid")
    grids.nth(0).locator("td").nth(6 * 16 + 4).drag_to(grids.nth(1).locator("td").nth(6 * 16 + 2))


def follow_a_head(page: Page) -> None:
    page.locator(".tp.circuit_graph circle.node").nth(6).click()


ACTS: dict[str, Callable[[Page], None]] = {
    "write": look_closer,
    "lens": open_a_cell,
    "intervene": drag_a_name,
    "circuits": follow_a_head,
}


if __name__ == "__main__":
    main()
