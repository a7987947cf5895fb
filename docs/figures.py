"""The figures of README and docs as SVG, for pages that cannot run Plotly.

    python docs/figures.py circuits docs/figures/circuits.svg        # the picture at the top of the README
    python docs/figures.py ten-lines docs/figures/ten-lines.svg      # what the README's ten lines draw
    python docs/figures.py RUN/results/NAME.parquet docs/figures/NAME.svg

A headless Chromium draws them, as a browser would. The first two take about half a minute on one core.
"""

from __future__ import annotations

import base64
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ROOT = Path(__file__).parents[1]
WIDTH = 1180
EDGES = 60


def circuits() -> Figure:
    """The strongest edges of the circuit for IOI in an AR model and in two twins made from it."""
    import analyses
    import probe

    masked, flow = probe.load_pair("zoo:masked"), probe.load_pair("zoo:flow")
    batch = probe.task("ioi").batch(masked, n=64, seed=0)
    found = [
        analyses.circuits.attribute(model, batch, reading=reading)
        for model, reading in ((masked.ar, "ar"), (masked.diffusion, "prefix"), (flow.diffusion, "prefix"))
    ]
    figure = analyses.circuits.picture(*found, ks=(EDGES,)).figure()
    title = f"How three twins name the indirect object: the {EDGES} strongest edges of each circuit"
    return figure.update_layout(sliders=[], title_text=title)


def ten_lines() -> Figure:
    """What the README's first block of Python draws."""
    (first, *_) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), flags=re.DOTALL)
    lines: dict = {}
    exec(compile(first, "README.md", "exec"), lines)
    return lines["figure"]


def of_a_result(path: str) -> Figure:
    from analyses.result import Result

    return Result.open(path).figure()


def svg(figure: Figure) -> str:
    from playwright.sync_api import sync_playwright

    figure = figure.update_layout(width=WIDTH)
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page()
        page.set_content(figure.to_html(include_plotlyjs=True, div_id="figure"))
        page.wait_for_function("document.querySelector('#figure .main-svg')")
        size = f"{{format: 'svg', width: {WIDTH}, height: {figure.layout.height}}}"  # type: ignore[attr-defined]  # plotly's are dynamic
        drawn = page.evaluate(f"Plotly.toImage('figure', {size})")
        browser.close()
    head, _, data = drawn.partition(",")
    return base64.b64decode(data).decode() if head.endswith("base64") else unquote(data)


if __name__ == "__main__":
    what, out = sys.argv[1:]
    drawn = {"circuits": circuits, "ten-lines": ten_lines}
    Path(out).write_text(svg(drawn[what]() if what in drawn else of_a_result(what)), "utf-8")
