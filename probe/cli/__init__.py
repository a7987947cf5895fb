"""The command line: each command parses its arguments, calls one function of the library, and shows what it returned.

A user's mistake is a `ProbeError` and is printed as such, never as a traceback. Exit codes: 0 all is well; 1 it ran and
something failed (a self-test, a unit of a job); 2 the input cannot be used; 130 interrupted.

Each file has a group of commands. Importing it registers them, so the order of `GROUPS` is their order in the help.
"""

from __future__ import annotations

import signal
import sys
from importlib import import_module

from probe.cli.screen import INTERRUPTED, UNUSABLE, app, tell
from probe.errors import ProbeError

GROUPS = ("models", "tasks", "writing", "horizon", "fetching", "jobs", "reports", "claims")
for _group in GROUPS:
    import_module(f"probe.cli.{_group}")


def main() -> None:
    """The entry point: errors that a user can act on are printed as sentences, without a traceback."""
    try:
        app()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            _ignore_interruptions()
        raise
    except ProbeError as problem:
        tell(problem)
        sys.exit(UNUSABLE)
    except (OSError, UnicodeError, RecursionError) as problem:  # a path that is too long, a folder that is read-only
        tell(_as_told(problem))
        sys.exit(UNUSABLE)
    except KeyboardInterrupt:
        _ignore_interruptions()
        sys.exit(INTERRUPTED)


def _ignore_interruptions() -> None:
    """Ctrl-C held down: the process ends already, and a further interruption would end it with a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _as_told(problem: Exception) -> ProbeError:
    name = getattr(problem, "filename", None)
    return ProbeError(
        f"file {name}" if name else "what was given",
        expected="files that can be read and written, and text of ordinary depth",
        found=f"{type(problem).__name__}: {str(problem)[:300]}",
        remedy="Check the path, its permissions and its content.",
    )
