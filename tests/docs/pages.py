"""The pages that a reader sees: the README, and what stands in docs/."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"(?:<!-- (?P<mark>[^>]*) -->\n+)?^```python\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[str]:
    """The page's Python, block by block, but for what a comment before it calls `not run`."""
    found = _BLOCK.finditer(page.read_text("utf-8"))
    return [block["code"] for block in found if not (block["mark"] or "").startswith("not run")]
