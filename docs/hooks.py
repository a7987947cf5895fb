"""What the docs site has beyond its written pages: `docs/how_to`, and a reference made from docstrings.

A room (`probe.tracing`, `analyses.lens`) is one page. It shows the room's docstring, then what each of its modules
makes public: what a module's `__all__` names, or what does not begin with an underscore. mkdocstrings reads the files
and never imports them.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
PACKAGES = ("probe", "analyses")
# Rooms that are machinery: they are read in the source.
LEFT_OUT = {"analyses.plots", "analyses.measures", "analyses.calibration", "probe.cli", "probe.zoo", "probe.installed"}


def on_config(config: MkDocsConfig) -> None:
    pages = sorted((ROOT / "docs" / "how_to").glob("*.md"))
    assert config.nav is not None
    if pages:
        config.nav.append({"How to add": [f"how_to/{page.name}" for page in pages]})
    for package in PACKAGES:
        config.nav.append({f"Reference: {package}": [{room: page_of(room)} for room in rooms(package)]})


def on_files(files: Files, config: MkDocsConfig) -> None:
    for package in PACKAGES:
        for room in rooms(package):
            files.append(File.generated(config, page_of(room), content=reference(room)))


def rooms(package: str) -> list[str]:
    """The package's own rooms and modules, by name."""
    found = [path for path in (ROOT / package).iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    names = [f"{package}.{path.stem}" for path in found if not path.stem.startswith("_")]
    return sorted(name for name in names if name not in LEFT_OUT)


def page_of(room: str) -> str:
    return f"reference/{room}.md"


def reference(room: str) -> str:
    """The page: a directive for each module that has something to say."""
    folder = ROOT.joinpath(*room.split("."))
    paths = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    paths = [path for path in paths if public(path)]
    return f"# {room}\n\n" + "\n\n".join(f"::: {module_of(path)}" for path in paths) + "\n"


def public(path: Path) -> bool:
    """Whether a file documents itself and is meant for others."""
    private = path.stem.startswith("_") and path.stem != "__init__"
    return not private and ast.get_docstring(ast.parse(path.read_text("utf-8"))) is not None


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
