"""What tests of every room share: a real browser, properties that are judged by what is true, not how soon, and what
is saved: a file's tests run in one process, the self-tests of a shipped model run once in it, and its garbage is small.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Generator, Iterator

import hypothesis
import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.whole_files import pytest_collection_modifyitems, pytest_xdist_make_scheduler  # noqa: F401, hooks

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Take what is there before the first test (a million objects of torch, transformers and pytest, none of which
    goes before the last) out of the garbage collector's sight. A trainer and a job each ask for a whole collection,
    which else takes longer than what is tested."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def shipped_models_are_tested_once() -> Iterator[None]:
    """The self-tests of a shipped model (see tests/tested_once.py). What the user's cache remembers of others is not
    asked: tests load models whose code, not only whose files, they have spoilt."""
    from probe.models import loading
    from tests.tested_once import PLACES, run_selftests

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loading, "remembered", lambda model, source, make: make())
        for place in PLACES:
            patched.setattr(place, "run_selftests", run_selftests)
        yield


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()
