"""Every name, file and link that README and docs mention exists: a rename that forgets them fails here."""

from __future__ import annotations

import dataclasses
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import analyses
from tests.docs.pages import PAGES, ROOT, named

FILES = {"py", "yaml", "json", "md", "sh", "csv", "ipynb", "toml", "cff", "svg", "parquet", "html", "cfg", "txt"}
ROOMS = sorted(name for name in analyses.__all__ if name.islower() and name != "result")
# `lens.depth` is read as `analyses.lens.depth`; `result` is what examples call a Result.
_NAME = re.compile(rf"(?<![\w./:-])(probe|analyses|{'|'.join(ROOMS)})((?:\.[A-Za-z_]\w*)+)(?![\w/-])")
_PATH = re.compile(r"(?<![\w/.:-])((?:probe|analyses|app|tests|docs|notebooks|\.github|\.ci)/[\w./*@-]*[\w*])")
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
PAGE = pytest.mark.parametrize("page", PAGES, ids=named)


def found(dotted: str) -> bool:
    """Whether a dotted name leads somewhere: through modules, then attributes, then the fields of a dataclass."""
    first, *rest = dotted.split(".")
    here: Any = import_module(first)
    for number, name in enumerate(rest, start=2):
        try:
            here = getattr(here, name)
        except AttributeError:
            try:
                here = import_module(".".join(dotted.split(".")[:number]))
            except ModuleNotFoundError:
                fields = dataclasses.fields(here) if dataclasses.is_dataclass(here) else ()
                return number == len(rest) + 1 and name in {field.name for field in fields}
    return True


def names_in(text: str) -> set[str]:
    code = "\n".join(re.findall(r"```(?:python|text)?\n.*?```|`[^`\n]+`", text, flags=re.DOTALL))
    dotted = {"".join(match) for match in _NAME.findall(code)}
    dotted = {name for name in dotted if name.rpartition(".")[2] not in FILES}
    return {name if name.startswith(("probe.", "analyses.")) else f"analyses.{name}" for name in dotted}


@PAGE
def test_every_name_exists(page: Path):
    assert [name for name in sorted(names_in(page.read_text("utf-8"))) if not found(name)] == []


@PAGE
def test_every_file_exists(page: Path):
    paths = set(_PATH.findall(page.read_text("utf-8")))
    assert [path for path in sorted(paths) if not list(ROOT.glob(path))] == []


@PAGE
def test_every_link_leads_somewhere(page: Path):
    links = set(_LINK.findall(page.read_text("utf-8")))
    assert [link for link in sorted(links) if not (page.parent / link).exists()] == []


def test_a_name_that_is_gone_is_noticed():
    assert names_in("`probe.lood(x)` and `lens.depth`, but `circuits.yaml`") == {"probe.lood", "analyses.lens.depth"}
    assert not found("probe.lood")
    assert found("probe.Trajectory.tokens")
    assert found("analyses.lens.depth")
