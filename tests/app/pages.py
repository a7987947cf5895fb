"""What tests read of a page of the app.

A page is drawn again after every choice, part by part, and a test that reads it once can read it half drawn. So a test
says what it waits for, and reads again until it holds; things that are compared with one another are read in one
look. No other file of these tests reads a page: `test_pages.py` forbids it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from playwright.sync_api import Error, Page, expect

Read = TypeVar("Read")
READS = {"all_inner_texts", "all_text_contents", "bounding_box", "count", "evaluate", "evaluate_all", "get_attribute",
         "inner_html", "inner_text", "input_value", "is_checked", "is_visible", "text_content"}  # fmt: skip
BETWEEN = 0.1  # seconds between two looks
SAME = 3  # looks that must agree where nothing is known of the value


def until(page: Page, read: Callable[[], Read], holds: Callable[[Read], bool], seconds: float = 60) -> Read:
    """What `read` finds once it holds; after `seconds`, the last that it found stands in the failure."""
    deadline, found = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            found = read()
        except Error as gone:  # an element that was replaced while it was read
            found = gone
        else:
            if holds(found):
                return found
        page.wait_for_timeout(1000 * BETWEEN)
    raise AssertionError(f"It did not come to hold within {seconds} s; the last look found {found!r}.")


def settled(page: Page, read: Callable[[], Read], seconds: float = 180) -> Read:
    """What `read` finds when the app has run to its end and several looks agree."""
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible(timeout=1000 * seconds)
    seen: list[Read] = []

    def agree(found: Read) -> bool:
        seen.append(found)
        return len(seen) >= SAME and seen[-SAME:] == [found] * SAME

    return until(page, read, agree, seconds)
