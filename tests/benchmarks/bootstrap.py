"""How long 10,000 resamples take over a table of layers × heads, against the product that they cannot do without.

python tests/benchmarks/bootstrap.py [--examples 256]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from analyses.statistics import RESAMPLES, mean, resamples

SHAPES = ((6, 4), (12, 12), (32, 32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=256)
    n = parser.parse_args().examples
    generator, weights = np.random.default_rng(0), resamples(n)
    table = Table(title=f"{RESAMPLES:,} resamples of {n} examples")
    for name in ("layers × heads", "the product alone (s)", "bootstrap, BCa (s)"):
        table.add_column(name, justify="right")
    for layers, heads in SHAPES:
        values = generator.normal(size=(n, layers, heads))
        alone = seconds(lambda values=values: weights @ values.reshape(n, -1))
        table.add_row(f"{layers} × {heads}", f"{alone:.3f}", f"{seconds(lambda values=values: mean(values)):.3f}")
    Console().print(table)


def seconds(call) -> float:
    """The shortest of three."""
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return min(taken)


if __name__ == "__main__":
    main()
