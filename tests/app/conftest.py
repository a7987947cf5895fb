"""What tests of the app share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from streamlit import config
from streamlit.testing.v1 import local_script_runner


@pytest.fixture(autouse=True, scope="session")
def pages_are_waited_for_asleep() -> Iterator[None]:
    """Streamlit's tester asks a thousand times a second whether a page has been run, and each time takes the
    interpreter from the thread that runs it: a tenth of the time. Here it sleeps until that thread ends."""
    asks = local_script_runner.require_widgets_deltas

    def sleeps(runner: local_script_runner.LocalScriptRunner, timeout: float = 3) -> None:
        if runner._script_thread is not None:
            runner._script_thread.join(timeout)
        asks(runner, 1)  # at once, or the tester's own error of a page that takes too long

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(local_script_runner, "require_widgets_deltas", sleeps)
        for option in ("runner.magicEnabled", "runner.postScriptGC"):
            config.set_option(option, False)  # as in the app's own configuration
        yield
