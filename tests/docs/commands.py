"""The shell commands that README and docs show, and what stands for what in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.docs.pages import PAGES

_FENCED = re.compile(r"^```(?:bash|sh|console)?\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(twinprobe [^`\n]+(?:\n[^`\n]+)?)`")


def commands(page: Path) -> list[list[str]]:
    """Every `twinprobe …` of a page, as a shell would cut it. In a fenced block what is said of a command stands behind
    two spaces, or a `#`."""
    text = page.read_text("utf-8")
    lines = [line.strip() for block in _FENCED.findall(text) for line in block.splitlines()]
    said = [re.split(r"\s{2,}|\s#", line)[0] for line in lines if line.startswith("twinprobe ")]
    said += [" ".join(inline.split()) for inline in _INLINE.findall(text)]
    return [shlex.split(one)[1:] for one in dict.fromkeys(said)]


SHOWN: dict[tuple[str, ...], str] = {}
"""Every command, and the first page that shows it."""
for _page in PAGES:
    for _command in commands(_page):
        SHOWN.setdefault(tuple(_command), _page.name)
