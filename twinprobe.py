"""Twinprobe under one name: `import twinprobe` is `import probe, analyses`, and costs no more.

    import twinprobe

    pair  = twinprobe.load_pair("zoo:masked")
    batch = twinprobe.task("ioi").batch(pair, n=256)
    twinprobe.analyses.lens.logit_lens(pair, batch).figure()

Every public name of `probe` is here, and `analyses` beside them. The objects are the same ones, so the two ways of
importing can be mixed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import probe

if TYPE_CHECKING:
    import analyses
    from probe import *  # noqa: F403  (for type checkers)

__all__ = ["analyses", *probe.__all__]  # pyright: ignore[reportUnsupportedDunderAll]  # its names are those of probe


def __getattr__(name: str) -> Any:
    if name == "analyses":
        return import_module(name)
    if name in probe.__all__:
        return getattr(probe, name)
    raise AttributeError(f"module 'twinprobe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
