"""Progress: a bar on a terminal, a line now and then in a pipe where a command asks for it, else nothing."""

from __future__ import annotations

import io

import pytest

from probe import progress as module
from probe.progress import progress, silenced


class Screen(io.StringIO):
    def __init__(self, terminal: bool):
        super().__init__()
        self.isatty = lambda: terminal


@pytest.fixture
def screen(monkeypatch):
    """The screen for errors, and a clock that goes on by four seconds at every look."""

    def made(terminal: bool) -> Screen:
        screen, looks = Screen(terminal), iter(range(0, 10_000, 4))
        monkeypatch.setattr(module.sys, "stderr", screen)
        monkeypatch.setattr(module.time, "monotonic", lambda: next(looks))
        monkeypatch.setitem(module.sys.modules, "ipykernel", None)
        monkeypatch.delitem(module.sys.modules, "ipykernel")
        return screen

    return made


def work(**how) -> None:
    with progress("loading", 8, "models", **how) as advance:
        for number in range(8):
            advance(1, f"loading number {number}")


def test_a_line_now_and_then_in_a_pipe(screen):
    shown = screen(terminal=False)
    work(lines=True)
    lines = shown.getvalue().splitlines()
    assert 1 <= len(lines) < 8
    assert lines[0].startswith("loading number 2: 3 of 8 models, ")
    assert lines[0].endswith(" s left")


def test_a_function_of_the_library_leaves_logs_alone(screen):
    shown = screen(terminal=False)
    work()
    assert shown.getvalue() == ""


def test_a_bar_on_a_terminal_and_none_inside_it(screen):
    shown = screen(terminal=True)
    with progress("outer", 5, "things") as advance:
        work()
        assert shown.getvalue() == ""
        advance()
        advance()
        assert "outer" in shown.getvalue()
        assert "loading" not in shown.getvalue()


def test_silence(screen):
    shown = screen(terminal=True)
    with silenced():
        work(lines=True)
    assert shown.getvalue() == ""


def test_an_estimate_of_one_s_own(screen):
    shown = screen(terminal=False)
    work(lines=True, left=lambda: 200.0)
    assert shown.getvalue().splitlines()[0].endswith("about 3 min left")


def test_nothing_where_the_environment_says_so(screen, monkeypatch):
    monkeypatch.setenv("TWINPROBE_PROGRESS", "off")
    shown = screen(terminal=False)
    work(lines=True)
    assert shown.getvalue() == ""
