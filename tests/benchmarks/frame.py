"""What benchmarks share, so that each holds only what it measures: options, a clock, memory, a process, a table.

A time is CPU time of this process unless a GPU does the work: other programs on the machine hardly change it. Memory is
that of a process of its own (`alone`), because what an allocator keeps from earlier work would be counted otherwise. A
benchmark is a script, and reads so:

    options = arguments(__doc__, n=1000)     # --n, and --device and --markdown
    rows = [{"task": name, "seconds": f"{seconds(lambda: make(name, options.n)):.2f}"} for name in TASKS]
    show("How fast examples are made", rows, options.markdown)

What is measured in a process of its own is a function that is handed to `frame.main` by name:

    if __name__ == "__main__":
        main(run, peak=peak_of)              # alone(__file__, "peak", layers=8) calls peak_of(layers=8)
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

ALONE = "--alone"
# Freed memory is given back at once; otherwise the allocator's habits are what is measured.
GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}


def arguments(described: str | None, **defaults: Any) -> argparse.Namespace:
    """`--device`, `--markdown` and an option for each default: a list takes several values, a tuple one of its own."""
    parser = argparse.ArgumentParser(description=described, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--markdown", action="store_true", help="print the table as a document has it")
    for name, default in defaults.items():
        if isinstance(default, list):
            parser.add_argument(f"--{name}", nargs="+", type=type(default[0]), default=default)
        elif isinstance(default, tuple):
            parser.add_argument(f"--{name}", choices=default, default=default[0])
        else:
            parser.add_argument(f"--{name}", type=type(default), default=default)
    return parser.parse_args()


def main(run: Callable[[], None], /, **alone: Callable[..., Any]) -> None:
    """Run the benchmark on one thread, or, in a process that `alone` began, one of its functions."""
    torch.set_num_threads(1)
    if ALONE in sys.argv:
        name, given = sys.argv[sys.argv.index(ALONE) + 1 :]
        print(json.dumps(alone[name](**json.loads(given))))
        return
    run()


def alone(script: str, function: str, /, **given: Any) -> Any:
    """What a function of a script returns (as JSON has it), called in a process of its own."""
    command = [sys.executable, script, ALONE, function, json.dumps(given)]
    here = {**os.environ, **GIVES_BACK, "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=here)
    return json.loads(ended.stdout.splitlines()[-1])


def seconds(work: Callable[[], object], device: str = "cpu", clock: Callable[[], float] = time.process_time) -> float:
    """How long some work takes: CPU time of this process, or a GPU's time until all of it is done."""
    now = clock if device == "cpu" else synchronised
    began = now()
    kept = work()
    took = now() - began
    del kept  # to free it is no part of the work
    return took


def synchronised() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def held_while(work: Callable[[], object], device: str) -> tuple[int, int]:
    """The bytes held before some work, and the most while it went on."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        kept = work()
        del kept
        return before, torch.cuda.max_memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")  # from now on VmHWM counts anew
    before = status("VmRSS")
    kept = work()
    del kept
    return before, status("VmHWM")


def most_allocated(seen: torch.profiler.profile) -> int:
    """The most bytes that were allocated at a time, of what a profile of the CPU saw (`profile_memory=True`)."""
    assert seen.profiler is not None
    assert seen.profiler.kineto_results is not None
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def status(name: str) -> int:
    """A figure of this process as Linux tells it, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def show(title: str, rows: Iterable[Mapping[str, str]], markdown: bool = False) -> None:
    """A table of rows by column; as Markdown each row is printed as soon as it is there."""
    if not markdown:
        rows = list(rows)
        table = Table(*rows[0], title=title)
        for row in rows:
            table.add_row(*row.values())
        console = Console()
        Console(width=max(160, console.width)).print(table)
        return
    for number, row in enumerate(rows):
        if not number:
            line_of([*row])
            line_of(["---"] * len(row))
        line_of([*row.values()])


def line_of(cells: Sequence[str]) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)
