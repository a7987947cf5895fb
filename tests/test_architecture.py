"""The plan of the house: which package may import which, and that no import leads back to where it came from.

Every import counts: those inside functions, and those made only for type checkers.
"""

from __future__ import annotations

import ast
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
    ("errors", "notebook"),
    ("installed", "cache"),
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


def test_no_file_imports_itself_in_a_circle():
    """graphlib raises CycleError, and names the circle. A package's face counts as the files that it hands on."""
    graph = {module: imports_of(module) - _containing(module) for module in FILES}
    order = list(TopologicalSorter(graph).static_order())
    assert set(order) >= set(FILES)


def _containing(module: str) -> set[str]:
    """The packages that a module lies in: importing from one's own package's face is how it is read, not a need."""
    parts = module.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts))}
