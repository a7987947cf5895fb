"""How pytest-xdist shares the tests out: whole files, and files that share something costly together; the long first.

A file's fixtures (a learnt model, a browser, the app) are then made by one process, not by each, and no process is left
alone with a long file at the end. pytest-xdist has marks for that (`xdist_group`), which its 3.8 writes where pytest 9
no longer looks: in silence, every file was run by both processes. So which files go together stands here, by name,
where the process that hands them out can read it, and `tests/test_whole_files.py` looks whether they do.
"""

from __future__ import annotations

from typing import Any

import pytest

# What is shared, and by whom: a server of forked processes, a browser, the tasks' batches in five vocabularies.
TOGETHER = {
    "forks": ("faults/", "probe/jobs/run/test_interruption", "probe/models/test_cost", "probe/tracing/test_store",
              "probe/training/test_adapt."),
    "browser": ("app/test_browser", "app/test_live_browser", "probe/jobs/report/test_page", "probe/views/test_drawn"),
    "vocabularies": ("probe/tasks/",),
}  # fmt: skip
# What takes longest, in this order; then whatever is slow.
FIRST = ("forks", "browser", "tests/notebooks/test_notebooks.py", "tests/app/test_random.py", "vocabularies",
         "tests/probe/zoo/test_zoo.py", "tests/probe/test_fuzz.py", "tests/analyses/calibration/test_calibration.py",
         "tests/probe/models/test_formats.py", "tests/docs/test_pages.py")  # fmt: skip
_GROUP = {f"tests/{begin}": group for group, begins in TOGETHER.items() for begin in begins}


def group_of(nodeid: str) -> str:
    """The file of a test, or the name under which that file goes with others."""
    file = nodeid.partition("::")[0]
    return next((group for begin, group in _GROUP.items() if file.startswith(begin)), file)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes long first."""
    slow = {group_of(item.nodeid) for item in items if item.get_closest_marker("slow")}
    rank = {group: place for place, group in enumerate(FIRST)}

    def turn(item: pytest.Item) -> int:
        group = group_of(item.nodeid)
        return rank.get(group, len(FIRST) if group in slow else len(FIRST) + 1)

    items.sort(key=turn)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand whole groups out, in the order in which they stand."""
    from xdist.scheduler import LoadScopeScheduling

    class WholeFiles(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return WholeFiles(config, log)
