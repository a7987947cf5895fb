"""Threads by the size of the work: a small model computes on one, however many the machine has.

torch splits each operation over all cores and lets its threads spin while they wait for the next one. That pays where
an operation takes milliseconds. In a model of a million parameters it takes microseconds: then the threads mostly wait
for one another, and where another program keeps one core busy they wait for that. On two such cores an attribution of
`zoo:masked` took 4.2 s of the processor on two threads, and 0.5 s on one.

    with fitting_threads(model, slots=canvas.tokens.numel()):
        …                                  # one thread if that is little work, the caller's own number else

Nothing is ever raised: who asks torch for one thread gets one. The number belongs to the whole process, so another
thread that computes meanwhile gets it, too, for as long as the context lasts. Entering costs a few microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch

SMALL = 50_000_000  # parameters; of larger ones the weights are read faster by several threads, even for one slot
LITTLE = 2e10  # multiplications of a pass: a second of one core


class Computes(Protocol):
    """A model, as far as its size is asked."""

    @property
    def n_parameters(self) -> int: ...

    @property
    def device(self) -> torch.device: ...


@contextmanager
def fitting_threads(model: Computes, slots: int) -> Iterator[None]:
    """One thread for passes of a small model over so many slots; elsewhere nothing changes."""
    before = torch.get_num_threads()
    if before == 1 or not on_one_thread(model, slots):
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def on_one_thread(model: Computes, slots: int) -> bool:
    """Whether passes over so many slots are little work for one core."""
    size = model.n_parameters
    return model.device.type == "cpu" and size <= SMALL and size * slots <= LITTLE
