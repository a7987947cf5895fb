"""Threads by the size of the work: a small model computes on one, however many the machine has.

torch splits each operation over all cores, and its threads spin while they wait for the next operation. That pays where
an operation takes milliseconds. In a model of a million parameters it takes microseconds, so the threads mostly wait
for one another, above all where another program keeps a core busy. On two cores with other programs running, an
attribution of `zoo:masked` took 3.4 s of CPU time on two threads and 0.1 s on one (mean of ten;
`python tests/benchmarks/threads.py`).

    with fitting_threads(model, slots=canvas.tokens.numel()):
        …                                  # one thread if that is little work, otherwise the caller's own number

The number is never raised: a caller that set torch to one thread keeps one. It belongs to the whole process, so other
threads that compute inside the context's time have it too. Entering costs a few microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch

SMALL = 50_000_000  # parameters; several threads read the weights of a larger model faster, even for one slot
LITTLE = 2e10  # multiplications in a pass: a second of one core


class Computes(Protocol):
    """What is needed of a model: its size and its device."""

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
