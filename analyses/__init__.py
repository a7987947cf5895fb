"""The measures: functions from traces, circuits and models to a Result, a tidy table with intervals and its figure.

Nothing here loads a model from disk or knows a screen, and `probe` never imports it. Each room is imported when it is
first used: `import analyses` costs nothing, and `analyses.circuits.attribute(…)` needs no other import.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analyses.result import Result

_ROOMS = sorted(room.name for room in pkgutil.iter_modules(__path__))

__all__ = ["Result", *_ROOMS]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "Result":
        return import_module("analyses.result").Result
    if name in _ROOMS:
        return import_module(f"analyses.{name}")
    raise AttributeError(f"module 'analyses' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
