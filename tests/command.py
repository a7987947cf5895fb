"""The command line called in this process: how it ended and what it printed, without importing torch once more.

A new process costs about five seconds of imports, and the tests of the command line ask it sixty things. What only a
process can show (the installed script, an exit code that a shell sees, a signal) is asked with `in_a_shell`.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from probe import cli
from probe.cli import screen


@dataclass(frozen=True)
class Ended:
    """What a shell is left with."""

    returncode: int
    stdout: str
    stderr: str


def twinprobe(*words: str, cwd: Path | None = None, width: int = 160) -> Ended:
    """Call the command's own entry point; an exception that it does not turn into words fails the test that calls."""
    out, err, code = io.StringIO(), io.StringIO(), None
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(cwd or Path.cwd()))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.enter_context(patch.object(sys, "argv", ["twinprobe", *words]))
        stack.enter_context(patch.object(sys, "excepthook", sys.excepthook))  # typer puts its own there
        stack.callback(setattr, screen.out, "width", screen.out.width)
        screen.out.width = width
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
    return Ended(int(code or 0), out.getvalue(), err.getvalue())


def in_a_shell(*words: str, cwd: Path | None = None) -> Ended:
    """The installed script, in a process of its own, whose output nobody's terminal has a width for."""
    command = [Path(sys.executable).with_name("twinprobe"), *words]
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=cwd, env=environment)
    return Ended(run.returncode, run.stdout, run.stderr)
