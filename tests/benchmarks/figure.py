"""A result's figure as SVG, drawn by a headless Chromium, for a page that cannot run Plotly.

python tests/benchmarks/figure.py RUN/results/verdict__zoo-masked__prefix__0.parquet notebooks/verdict-masked.svg
"""

from __future__ import annotations

import base64
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote

from analyses.result import Result

WIDTH = 1180


def svg(result: Result) -> str:
    """The figure, as Plotly draws it in a browser."""
    from playwright.sync_api import sync_playwright

    figure = result.figure().update_layout(width=WIDTH)
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page()
        page.set_content(figure.to_html(include_plotlyjs=True, div_id="figure"))
        page.wait_for_function("document.querySelector('#figure .main-svg')")
        size = f"{{format: 'svg', width: {WIDTH}, height: {figure.layout.height}}}"  # type: ignore[attr-defined]
        drawn = page.evaluate(f"Plotly.toImage('figure', {size})")
        browser.close()
    head, _, data = drawn.partition(",")
    return base64.b64decode(data).decode() if head.endswith("base64") else unquote(data)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(svg(Result.open(sys.argv[1])))
