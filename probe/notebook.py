"""Notebook displays: small tables of escaped text, without JavaScript.

Names, tokens and texts come from files and models, so a `<script>` among them is shown as those eight characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_STYLE = "text-align:left;vertical-align:top;white-space:pre-wrap"


def table(title: str, rows: Iterable[Sequence[object]], head: Sequence[object] = ()) -> str:
    """An HTML table under a title; the first cell of a row is its label."""
    lines = [f'<table><caption style="text-align:left">{escape(title)}</caption>']
    if head:
        lines.append("<tr>" + "".join(_cell("th", cell) for cell in head) + "</tr>")
    for label, *cells in rows:
        lines.append("<tr>" + _cell("th", label) + "".join(_cell("td", cell) for cell in cells) + "</tr>")
    return "".join([*lines, "</table>"])


def _cell(tag: str, content: object) -> str:
    return f'<{tag} style="{_STYLE}">{escape(str(content))}</{tag}>'
