"""A page is read through `until` or `settled`, which look again: one look can fall between two drawings."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from playwright.sync_api import Error, Page

from tests.app.pages import READS, settled, until

HERE = Path(__file__).parent


def single_looks(code: str) -> list[str]:
    """The reads of a page outside an argument of `until` or `settled`, each as its line and name."""
    tree = ast.parse(code)
    called = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    repeated = {
        id(inner)
        for call in called
        if isinstance(call.func, ast.Name) and call.func.id in ("until", "settled")
        for given in call.args
        if isinstance(given, ast.Lambda)
        for inner in ast.walk(given)
    }
    return [
        f"{call.lineno}: {call.func.attr}"
        for call in called
        if isinstance(call.func, ast.Attribute) and call.func.attr in READS and id(call) not in repeated
    ]


@pytest.mark.parametrize("file", sorted(HERE.glob("*browser*.py")), ids=lambda file: file.name)
def test_no_page_is_read_in_a_single_look(file):
    assert single_looks(file.read_text("utf-8")) == []


def test_a_single_look_is_found():
    assert single_looks("found = page.evaluate('1')") == ["1: evaluate"]
    assert single_looks("found = until(page, lambda: page.evaluate('1'), bool)") == []
    assert single_looks("found = until(page, cells.count(), bool)") == ["1: count"]  # read before it waits


def made_up(reads: list[Any]) -> tuple[Page, Any]:
    """A page, and a read of it that finds one thing after another."""
    left = iter(reads)

    def read() -> Any:
        found = next(left)
        if isinstance(found, Error):
            raise found
        return found

    page = SimpleNamespace(wait_for_timeout=lambda _: None, locator=lambda _: None)
    return cast("Page", page), read


def test_it_looks_again_until_it_holds():
    page, read = made_up(["half", Error("detached"), "whole", "later"])
    assert until(page, read, lambda found: found == "whole") == "whole"


def test_what_never_holds_is_said_with_the_last_look():
    page, read = made_up(["half"] * 1_000_000)
    with pytest.raises(AssertionError, match="'half'"):
        until(page, read, lambda found: found == "whole", seconds=0.05)


def test_a_value_that_nothing_is_known_of_is_read_until_looks_agree(monkeypatch):
    monkeypatch.setattr("tests.app.pages.expect", lambda _: SimpleNamespace(to_be_visible=lambda **_: None))
    page, read = made_up([1, 2, 2, 3, 3, 3, 4])
    assert settled(page, read) == 3
