"""What makes a page self-contained: Plotly's code, the figures' data, and a policy that allows nothing else.

Both are compressed (deflate, base64), which makes the page a third of its size, and the browser unpacks them when they
are needed. The page's content security policy lists the hashes of its two scripts, its own and Plotly's, and allows no
network. If a string from a model or a file ever got past the escaping, it could do nothing: a script whose hash is not
listed does not run.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from functools import cache
from typing import Any


@cache
def plotly_code() -> str:
    """The whole of plotly.js, from the Python package."""
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


@cache
def packed_plotly() -> str:
    return packed(plotly_code())


def packed(text: str) -> str:
    """A compressed text for the page: deterministic, and without characters that mean something in HTML."""
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def policy(*scripts: str) -> str:
    """The content security policy of a page that runs only these scripts and uses no network."""
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in scripts) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def without_title_and_template(figure: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A figure without its title, which the page's caption has, and its template, which all figures of a run share."""
    layout = {key: value for key, value in figure.get("layout", {}).items() if key not in ("title", "template")}
    template = figure.get("layout", {}).get("template")
    return {"data": figure.get("data", []), "layout": layout}, template
