"""What comparing circuits costs at the size of a 7B model's graph, and single neurons at the width of its MLPs.

    python tests/benchmarks/scale.py [--examples 256] [--markdown] [--only compare]

No model is loaded: circuits of 28 layers × 28 heads with 4 key-value heads and directions (496,147 edges) are drawn,
heavy-tailed and with noise on every prompt, and so are activations of 18,944 neurons. Each function runs in a process
of its own, on one thread. Memory is the most that it held beyond the circuits themselves.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from frame import alone, arguments, held_while, main, show

from analyses import circuits
from analyses.circuits.circuit import Circuit, Provenance
from analyses.circuits.graph import Graph
from analyses.specialization.neurons import _layer_rows

GRAPH = Graph(n_layers=28, n_heads=28, n_kv_heads=4, directions=True)
NEURONS, CASES = 18_944, 8
CALLS = {
    "diff": lambda a, b: circuits.diff(a, b),
    "mass": lambda a, b: circuits.mass(a),
    "compare": lambda a, b: circuits.compare(a, b),
}


def drawn(seed: int, n: int) -> Circuit:
    """A circuit whose prompts see one truth with five times its spread in noise."""
    truth = np.random.default_rng(0).standard_normal(GRAPH.n_edges, dtype=np.float32) ** 3
    noise = np.random.default_rng(seed)
    by_example = np.empty((n, GRAPH.n_edges), np.float32)
    for row in by_example:
        row[:] = truth + 5 * noise.standard_normal(GRAPH.n_edges, dtype=np.float32)
    scores = np.zeros(GRAPH.shape)
    scores[GRAPH.valid] = by_example.mean(0)
    about = Provenance(
        model="drawn", paradigm="masked", task="none", reading="prefix", method="eap-ig", steps=5, metric="none",
        ablation="corrupt", n=n, seed=seed,
    )  # fmt: skip
    return Circuit(GRAPH, scores, np.zeros((n, GRAPH.n_sources + 1), np.float32), about, by_example)


def of_circuits(name: str, n: int) -> dict[str, Any]:
    a, b = drawn(1, n), drawn(2, n)
    began = time.process_time()
    before, most = held_while(lambda: CALLS[name](a, b), "cpu")
    return {"seconds": time.process_time() - began, "bytes": most - before}


def of_neurons(n: int) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    values, cases = generator.standard_normal((n, NEURONS)), np.eye(CASES)[generator.integers(CASES, size=n)]
    began = time.process_time()
    before, most = held_while(lambda: _layer_rows(values, cases, seed=0), "cpu")
    return {"seconds": time.process_time() - began, "bytes": most - before}


def run() -> None:
    options = arguments(__doc__, examples=256, only=("all", *CALLS, "selectivity"))
    rows = []
    for name in (*CALLS, "selectivity"):
        if options.only not in ("all", name):
            continue
        given = {"n": options.examples}
        took = (
            alone(__file__, "neurons", **given) if name == "selectivity" else alone(__file__, "of", name=name, **given)
        )
        size = f"a layer of {NEURONS:,} neurons" if name == "selectivity" else f"{GRAPH.n_edges:,} edges"
        rows.append(
            {"": name, "of": size, "prompts": str(options.examples), "CPU s": f"{took['seconds']:.1f}",
             "GB more": f"{took['bytes'] / 1e9:.2f}"}
        )  # fmt: skip
    show("At the size of a 7B model", rows, options.markdown)


if __name__ == "__main__":
    main(run, of=of_circuits, neurons=of_neurons)
