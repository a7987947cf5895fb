"""The garbage collector, paused while much is made that stays.

Importing torch and a transformers model makes very many objects that live as long as the process. Python's collector
looks through all of them again and again meanwhile, and finds nothing.

    with paused():
        import torch

Memory is still freed wherever nothing refers to it any more; only cycles wait until the context ends.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Inside, the collector does not run. It runs again behind the outermost of such contexts; never if it was off."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
