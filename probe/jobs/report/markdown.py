"""Escaping for Markdown: text from elsewhere is shown as it is, and cannot add markup.

Templates put every value through `escaped` unless it is `Markup`, which only this package makes. Line breaks become
spaces, since a table row and a heading end at one. Characters are escaped only where they would mean something, so that
`zoo:masked` and `0.12 [0.05, 0.19]` stay readable in the file itself.
"""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup

_SIGNS = re.compile(
    r"""([\\`*|~$]              # escapes, code, emphasis, cells, strikes, formulas
        |(?<!\w)_|_(?!\w)       # emphasis, but not an underscore within a name
        |\](?=[(\[:])           # links and their definitions
        |^[-+#=]                 # lists and headings
        |(?<=^\d)[.)](?=\s|$)
        )""",
    re.VERBOSE,
)
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escaped(value: Any) -> str:
    """A value as Markdown that renders as the value's text."""
    if isinstance(value, Markup):
        return str(value)
    text = " ".join(str(value).split())
    return _SIGNS.sub(r"\\\1", re.sub(r"[&<>]", lambda found: _HTML[found[0]], text))


def code(value: Any) -> Markup:
    """A value as a code span, whatever backticks it has."""
    text = " ".join(str(value).split())
    fence = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    padding = " " if "`" in text else ""
    return Markup(f"{fence}{padding}{text}{padding}{fence}".replace("|", "\\|"))
