"""Names that are imported when they are first used.

A package's `__init__` lists what it offers. Importing all of it at once would import torch, plotly and the rest for
every user: `import probe` would take four seconds instead of none. So a package passes its names to `lazy`, and each
module is imported when one of its names is first used:

    __getattr__, __dir__ = lazy(__name__, {"circuit": ("Circuit", "Provenance"), "graph": ("Graph",)})

`rooms` has the names of whole modules. The same names are imported under `TYPE_CHECKING`, so that editors and type
checkers see them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from probe.collector import paused


def lazy(
    package: str, homes: Mapping[str, Collection[str]], rooms: Collection[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__`: `homes` says which of its modules has which names."""
    home_of = {name: module for module, names in homes.items() for name in names}

    def find(name: str) -> Any:
        if name in rooms:
            with paused():
                return import_module(f"{package}.{name}")
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with paused():
            found = getattr(import_module(f"{package}.{home_of[name]}"), name)
        setattr(sys.modules[package], name, found)  # found without this function from now on
        return found

    def names() -> list[str]:
        """What completion offers: the package's names and modules, not what its file imports for itself."""
        kept = {
            name
            for name, held in vars(sys.modules[package]).items()
            if name.startswith("__") or (isinstance(held, ModuleType) and held.__name__ == f"{package}.{name}")
        }
        return sorted({*kept, *home_of, *rooms})

    return find, names
