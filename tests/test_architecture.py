"""The plan of the house: which package may import which, and that no import leads back to where it came from.

Every import counts: those inside functions, and those made only for type checkers.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "probe": {"analyses", "app", "streamlit", "tests"},
    "analyses": {"app", "streamlit", "tests"},
    "app": {"tests"},
}
# Imported where they are used, so that training needs no more than torch and transformers, and `import probe` nothing.
HEAVY = {"transformer_lens", "nnsight", "xarray", "zarr", "plotly", "streamlit", "pandas", "scipy", "sklearn", "ray"}
# The floors of `probe`, from the ground up. What stands on a floor imports from the floors below it, and from its own
# package, and from nothing else.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("collector",),
    ("errors", "notebook", "lazy", "progress"),
    ("installed", "cache", "outside_files", "memory", "views"),
    ("zoo", "batch", "accuracy"),
    ("paradigms",),
    ("models",),
    ("pairs",),
    ("decoding",),
    ("readings",),
    ("tasks",),
    ("tracing", "training", "fetching"),
    ("jobs",),
    ("cli",),
)
# What reads files, or text that may come from one; and who may, since these come with the package or the system.
READING = re.compile(
    r"json\.loads?$|yaml\.\w*(load|compose|parse|scan)\w*$|\.read_(text|bytes)$|^csv\.\w*reader$|^tomllib|^pickle"
    r"|^marshal|^torch\.load$|^configparser|^xml|validate_json$",
    re.IGNORECASE,
)
OWN_FILES = {
    "probe.outside_files.csv_text": {"csv.DictReader"},
    "probe.outside_files.json_text": {"json.loads"},
    "probe.outside_files.yaml_text": {"yaml.compose", "yaml.SafeLoader"},
    "probe.jobs.report.render": {"(Path(__file__).parent / 'templates' / name).read_text"},
    "probe.jobs.report.words": {"Path(__file__).with_name('glossary.md').read_text"},
    "probe.jobs.run.code_hash": {"file.read_bytes"},  # hashed, not parsed
    "probe.jobs.run.manifest": {"Path('/proc/cpuinfo').read_text"},
    "probe.jobs.spec.shipped": {"_HERE.joinpath(f'{name}{_SUFFIX}').read_text"},
    "probe.jobs.spec.template": {"files('probe.jobs.spec').joinpath('slurm.sh').read_text"},
    "probe.views.view": {"(_STATIC / name).read_text"},
    "probe.models.selftests.language": {"Path(__file__).with_name('sample.txt').read_text"},
    "analyses.measures.storage": {"file.read_bytes"},  # hashed, not parsed
}
FLOOR_OF = {package: number for number, floor in enumerate(FLOORS) for package in floor}
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for room in FORBIDDEN
    for path in (ROOT / room).rglob("*.py")
}


def packages_named(nodes) -> set[str]:
    """The top-level packages that some import statements name."""
    named = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            named |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            named.add(node.module.partition(".")[0])
    return named


@cache
def imports_of(module: str) -> frozenset[str]:
    """The project's own modules that a module imports, anywhere in its file."""
    named = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            named |= {name for name in inner if name in FILES} or {node.module}
    return frozenset(name for name in named if name in FILES and name != module)


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text("utf-8"))


def package_of(module: str) -> str:
    """probe.models.loading → models."""
    return module.split(".")[1]


@pytest.mark.parametrize("module", sorted(FILES))
def test_imports_go_one_way(module):
    room = module.partition(".")[0]
    assert not packages_named(ast.walk(tree_of(module))) & FORBIDDEN[room]
    if room == "probe":
        assert not packages_named(tree_of(module).body) & HEAVY


def test_every_package_of_probe_stands_on_a_floor():
    assert {package_of(module) for module in FILES if module.startswith("probe.")} == set(FLOOR_OF)


@pytest.mark.parametrize("module", sorted(name for name in FILES if name.startswith("probe.")))
def test_a_floor_rests_on_lower_ones_alone(module):
    here = package_of(module)
    others = {package_of(name) for name in imports_of(module) if name.startswith("probe.")} - {here}
    assert {name for name in others if FLOOR_OF[name] >= FLOOR_OF[here]} == set()


def reads_of(module: str) -> set[str]:
    """The calls of a module that read a file, or parse what one may hold."""
    calls = (node.func for node in ast.walk(tree_of(module)) if isinstance(node, ast.Call))
    named = {ast.unparse(call) for call in calls if isinstance(call, ast.Attribute)}
    return {call for call in named if READING.search(call)}


def test_every_analysis_has_a_room_and_only_what_all_of_them_return_lies_loose():
    assert {path.name for path in (ROOT / "analyses").glob("*.py")} == {"__init__.py", "result.py"}


@pytest.mark.parametrize("module", sorted(FILES))
def test_files_from_outside_are_read_in_one_place(module):
    """With limits on size, depth, type, keys and digits: `probe.outside_files`."""
    assert reads_of(module) - OWN_FILES.get(module, set()) == set()


def test_what_reads_files_of_our_own_still_does():
    assert {module: reads_of(module) for module in OWN_FILES} == OWN_FILES


def test_no_file_imports_itself_in_a_circle():
    """graphlib raises CycleError, and names the circle. A package's face counts as the files that it hands on."""
    graph = {module: imports_of(module) - _containing(module) for module in FILES}
    order = list(TopologicalSorter(graph).static_order())
    assert set(order) >= set(FILES)


TESTS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted((ROOT / "tests").rglob("*.py"))
}


@pytest.mark.parametrize("module", TESTS)
def test_nothing_imports_from_a_test(module):
    """What two tests share stands in a module of its own, as `tests/app/server.py` does. A test may be changed by whom
    has read it alone: one that imported another's private name broke when the other was mended."""
    named = set()
    for node in ast.walk(ast.parse(TESTS[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            named |= {f"{node.module or ''}.{alias.name}" for alias in node.names} | {node.module or ""}
    assert {name for name in named if re.search(r"(^|\.)test_", name)} == set()


def _containing(module: str) -> set[str]:
    """The packages that a module lies in: importing from one's own package's face is how it is read, not a need."""
    parts = module.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts))}
