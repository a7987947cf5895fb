"""How fast each task makes examples: `python tests/benchmarks/tasks.py [n]` prints a table for the shipped vocabulary.

Seconds are CPU time of one thread; each row has a process of its own, so that nothing is remembered from another.
"""

from __future__ import annotations

import subprocess
import sys
import time

from probe.tasks import TASKS, task, vocabulary

VARIANTS: list[tuple[str, dict]] = [
    *((name, {}) for name in TASKS),
    ("countdown", {"ask": "operand"}),
    ("countdown", {"numbers": 4}),
    ("paths", {"graph": "random"}),
    ("paths", {"distance": 6}),
    ("infilling", {"in_place": True}),
    ("ioi", {"corrupt": "swap"}),
]


def main(n: int = 10_000) -> None:
    print("| task | knobs | examples | CPU seconds |\n|---|---|---|---|")
    for row in range(len(VARIANTS)):
        print(subprocess.check_output([sys.executable, __file__, str(n), str(row)], text=True), end="", flush=True)


def measure(n: int, row: int) -> None:
    name, knobs = VARIANTS[row]
    tokenizer = vocabulary.shipped()
    start = time.process_time()
    found = len(task(name, **knobs).examples(tokenizer, n, split="train", fewer=True))
    seconds = time.process_time() - start
    print(f"| {name} | {', '.join(f'{k}={v}' for k, v in knobs.items())} | {found:,} | {seconds:.2f} |")


if __name__ == "__main__":
    (main if len(sys.argv) < 3 else measure)(*map(int, sys.argv[1:]))
