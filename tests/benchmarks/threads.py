"""What a small model's attribution takes on one thread and on several, where other programs keep cores busy.

    python tests/benchmarks/threads.py [--markdown] [--threads 1 2] [--busy 1] [--examples 4]

Attribution of `zoo:masked` on `ioi`, in a process of its own for each number of threads. The rule that a small model
computes on one thread is switched off for it. `--busy` processes keep a core busy each meanwhile. Times are of one
attribution: the mean and the longest of ten.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from frame import alone, arguments, main, seconds, show

import probe
from analyses import circuits
from probe.models import threads as rule


def run() -> None:
    options = arguments(__doc__, threads=[1, 2], busy=1, examples=4)
    with counting(options.busy):
        rows = [row(threads, options.examples) for threads in options.threads]
    show(f"Attribution of zoo:masked, {options.busy} other processes busy", rows, options.markdown)


def row(threads: int, examples: int) -> dict[str, str]:
    took = alone(__file__, "attribution", threads=threads, examples=examples)
    found = {name: f"{sum(times) / len(times):.1f} s, {max(times):.1f} s" for name, times in took.items()}
    return {"threads": str(threads), **found}


def attribution_of(threads: int, examples: int) -> dict[str, list[float]]:
    """CPU time and elapsed time of ten attributions, after another has loaded what is loaded on first use."""
    rule.SMALL = 0
    torch.set_num_threads(threads)
    model = probe.load("zoo:masked")
    prompts = probe.task("ioi").examples(model, examples)
    circuits.attribute(model, prompts)
    took: dict[str, list[float]] = {"CPU time": [], "elapsed": []}
    for _ in range(10):
        began = time.perf_counter()
        took["CPU time"].append(seconds(lambda: circuits.attribute(model, prompts)))
        took["elapsed"].append(time.perf_counter() - began)
    return took


@contextmanager
def counting(processes: int) -> Iterator[None]:
    """Processes that keep a core busy each, until the context ends."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for one in busy:
            one.kill()
            one.wait()


if __name__ == "__main__":
    main(run, attribution=attribution_of)
