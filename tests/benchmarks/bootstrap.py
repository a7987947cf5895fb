"""How long 10,000 resamples take over a table of layers × heads, against the product that they cannot do without.

python tests/benchmarks/bootstrap.py [--examples 256]
"""

from __future__ import annotations

import numpy as np
from frame import arguments, main, seconds, show

from analyses.statistics import RESAMPLES, mean, resamples

SHAPES = ((6, 4), (12, 12), (32, 32))


def run() -> None:
    options = arguments(__doc__, examples=256)
    n = options.examples
    generator, weights = np.random.default_rng(0), resamples(n)
    rows = []
    for layers, heads in SHAPES:
        values = generator.normal(size=(n, layers, heads))
        calls = {"the product alone (s)": lambda v=values: weights @ v.reshape(n, -1),
                 "bootstrap, BCa (s)": lambda v=values: mean(v)}  # fmt: skip
        took = {name: min(seconds(call) for _ in range(3)) for name, call in calls.items()}
        rows.append({"layers × heads": f"{layers} × {heads}"} | {name: f"{each:.3f}" for name, each in took.items()})
    show(f"{RESAMPLES:,} resamples of {n} examples", rows, options.markdown)


if __name__ == "__main__":
    main(run)
