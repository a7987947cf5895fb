"""The answer of a run, read from its report and printed as a command's last lines.

answer_in("runs/demo/report.md")      # ("In zoo:masked, the AR circuit is kept …", …); () if it has none
"""

from __future__ import annotations

import html
import re
from itertools import dropwhile, takewhile
from pathlib import Path

from probe.jobs.run_folder import FILE, RunError

HEADING = "## What came out"
_ESCAPED = re.compile(r"\\(.)")


def answer_in(report: Path) -> tuple[str, ...]:
    """The sentences that a report in Markdown begins with."""
    try:
        lines = [line for line in FILE.text(report).splitlines() if line]
    except RunError:
        return ()
    below = list(dropwhile(lambda line: line != HEADING, lines))[1:]
    return tuple(_plain(line.removeprefix("- ")) for line in takewhile(lambda line: line.startswith("- "), below))


def _plain(written: str) -> str:
    return html.unescape(_ESCAPED.sub(r"\1", written))
