"""The how-to pages, made true: their blocks of code, installed as a package for the length of a test and run."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

PAGES = Path(__file__).parent.parent / "docs" / "how_to"


def blocks(page: str, language: str) -> list[str]:
    """The page's blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (PAGES / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)


def install(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the page's package (python blocks that begin with the name of a file, and the entry points of its toml) into
    a folder, from which this process can import it."""
    for block in blocks(page, "python"):
        if name := re.match(r"# (\w+)\.py\n", block):
            (folder / f"{name[1]}.py").write_text(block, "utf-8")
            monkeypatch.delitem(sys.modules, name[1], raising=False)
    about = folder / "my_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    groups = {
        group: entries
        for block in blocks(page, "toml")
        for group, entries in tomllib.loads(block)["project"]["entry-points"].items()
    }
    lines = [f"[{group}]\n" + "".join(f"{name} = {at}\n" for name, at in own.items()) for group, own in groups.items()]
    (about / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(folder)


def used(page: str, containing: str = "") -> dict[str, Any]:
    """What the page's code that uses the package makes, by name: the blocks that are no file, run one after the other,
    of those that hold some text."""
    found: dict[str, Any] = {}
    for block in blocks(page, "python"):
        if not re.match(r"# \w+\.py\n", block) and containing in block:
            exec(compile(block, page, "exec"), found)
    return found
