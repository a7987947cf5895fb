"""The notebooks run anew from top to bottom, and written back with what they show.

    python docs/notebooks.py                                  # all of them
    python docs/notebooks.py notebooks/01_first_look.ipynb    # one

Kept outputs must be readable where nothing runs, so every Plotly figure gets a still picture beside its own data: SVG,
or PNG where that is smaller. A headless Chromium draws them. The times at which cells ran are left out: they differ
from run to run and say nothing. Of each notebook the CPU seconds that its kernel took are printed.
"""

from __future__ import annotations

import base64
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import psutil
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[1]
PLOTLY = "application/vnd.plotly.v1+json"
WIDTH, HEIGHT = 860, 450  # of a figure that has no size of its own


def run_anew(path: Path) -> float:
    """Run a notebook in a kernel of its own and write it back; the CPU seconds that this took."""
    read: Any = nbformat.read(path, as_version=4)
    os.environ["PLOTLY_RENDERER"] = "plotly_mimetype"  # the figure's data alone, without Plotly's own code
    os.environ["TWINPROBE_PROGRESS"] = "off"
    kernel = KernelManager(kernel_name="python3")
    kernel.start_kernel(cwd=str(ROOT / "notebooks"))
    try:
        NotebookClient(read, km=kernel, timeout=600, record_timing=False, coalesce_streams=True).execute()
        assert kernel.provisioner is not None
        spent = psutil.Process(kernel.provisioner.pid).cpu_times()  # type: ignore[attr-defined]  # a local kernel's
    finally:
        kernel.shutdown_kernel(now=True)
    with _browser() as page:
        for data in _displayed(read):
            _keep_still(data, page)
    nbformat.write(read, path)
    return spent.user + spent.system


def _displayed(notebook: NotebookNode) -> Iterator[dict[str, Any]]:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "data" in output:
                yield output["data"]


def _keep_still(data: dict[str, Any], page: Page) -> None:
    """The figure as a still picture, and nothing else that Plotly says of it."""
    if PLOTLY not in data:
        return
    figure = data[PLOTLY]
    layout = figure["layout"]
    size = {"width": layout.get("width", WIDTH), "height": layout.get("height", HEIGHT)}
    svg, png = (_drawn(page, figure, {"format": kind, **size}) for kind in ("svg", "png"))
    still = {"image/svg+xml": svg} if len(svg) < len(png) else {"image/png": png}
    data.clear()
    data.update({PLOTLY: {"data": figure["data"], "layout": layout}, **still, "text/plain": "<a figure>"})


def _drawn(page: Page, figure: dict[str, Any], size: dict[str, Any]) -> str:
    uri: str = page.evaluate(
        "async ([data, layout, size]) => await Plotly.toImage({data, layout}, size)",
        [figure["data"], figure["layout"], size],
    )
    head, _, body = uri.partition(",")
    if size["format"] == "png":
        return body
    from urllib.parse import unquote

    return base64.b64decode(body).decode() if head.endswith("base64") else unquote(body)


@contextmanager
def _browser() -> Iterator[Page]:
    from playwright.sync_api import sync_playwright
    from plotly.offline import get_plotlyjs

    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page()
        page.set_content("<!doctype html><meta charset='utf-8'>")
        page.add_script_tag(content=get_plotlyjs())
        yield page
        browser.close()


if __name__ == "__main__":
    asked = [Path(name) for name in sys.argv[1:]] or sorted((ROOT / "notebooks").glob("*.ipynb"))
    for path in asked:
        seconds = run_anew(path)
        print(f"{path.stem}: {seconds:.0f} CPU seconds, {path.stat().st_size // 1024} kB", flush=True)
