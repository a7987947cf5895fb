"""The one direction of the house: probe knows nothing of analyses, and neither knows of the app."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {"probe": {"analyses", "app", "streamlit", "tests"}, "analyses": {"app", "streamlit", "tests"}}
# Imported where they are used, so that training needs no more than torch and transformers, and `import probe` nothing.
HEAVY = {"transformer_lens", "nnsight", "xarray", "zarr", "plotly", "streamlit", "pandas", "scipy", "sklearn", "ray"}
MODULES = sorted(path for room in FORBIDDEN for path in (ROOT / room).rglob("*.py"))


def imported(nodes) -> set[str]:
    """The top-level packages that some import statements name."""
    named = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            named |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            named.add(node.module.partition(".")[0])
    return named


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(module):
    tree = ast.parse(module.read_text("utf-8"))
    room = module.relative_to(ROOT).parts[0]
    assert not imported(ast.walk(tree)) & FORBIDDEN[room]
    if room == "probe":
        assert not imported(tree.body) & HEAVY
