"""How often the circuit diff calls an edge lost or gained between models that differ in nothing but chance.

    python tests/benchmarks/false_calls.py [--markdown] [--examples 96] [--tasks ioi greater_than …]

Two seeds of the shipped AR model, and two of the masked one, on prompts that both AR models answer. The null is the
same two models on other tasks: none holds the pair and task that it judges. Five percent are stated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from frame import arguments, main, show

import probe
from analyses import circuits
from analyses.circuits import Circuit, DiffOptions, diff
from probe.pairs import Pair
from probe.tasks import TASKS

SEEDS = {"ar": ("ar", "zoo:ar", "zoo:ar-seed2"), "masked": ("prefix", "zoo:masked", "zoo:masked-seed2")}
SHARE, RESAMPLES = 0.1, 60

Twins = Mapping[str, tuple[Circuit, Circuit]]  # by task


def run() -> None:
    options = arguments(__doc__, examples=96, tasks=list(TASKS))
    show("How often an edge is called lost or gained", rows(options.tasks, options.examples), options.markdown)


def rows(tasks: list[str], n: int) -> Iterator[dict[str, str]]:
    for seeds in SEEDS:
        found = circuits_of(seeds, tasks, n)
        for what, rates in (("one other task", one_null(found)), ("all other tasks", all_nulls(found))):
            yield {
                "two models that differ by": f"a seed: {' and '.join(SEEDS[seeds][1:])}",
                "held against": f"the same two on {what}",
                "called lost or gained": f"{rates.mean():.1%}",
                "least and most, by task": f"{rates.min():.1%}, {rates.max():.1%}",
            }


def circuits_of(seeds: str, tasks: list[str], n: int) -> Twins:
    reading, *places = SEEDS[seeds]
    first, second = (probe.load(place) for place in places)
    ar, ar_again = (probe.load(place) for place in SEEDS["ar"][1:])
    solvers = Pair(ar, ar_again, name="two seeds")
    found = {}
    for name in tasks:
        batch = probe.task(name).batch(solvers, n, seed=0)
        how = circuits.AttributionOptions(example_edges=True, directions=True)
        found[name] = tuple(circuits.attribute(model, batch, reading=reading, options=how) for model in (first, second))
    return found


def one_null(found: Twins) -> np.ndarray:
    """By task: the mean over nulls of one other task each."""
    return np.array(
        [np.mean([rate(pair, [found[other]]) for other in found if other != name]) for name, pair in found.items()]
    )


def all_nulls(found: Twins) -> np.ndarray:
    return np.array([rate(pair, [found[other] for other in found if other != name]) for name, pair in found.items()])


def rate(pair: tuple[Circuit, Circuit], null: list[tuple[Circuit, Circuit]]) -> float:
    """The share of the two circuits' edges that are called lost or gained."""
    k = round(SHARE * int(pair[0].graph.valid.sum()))
    counts = diff(*pair, null=null, k=k, options=DiffOptions(resamples=RESAMPLES)).about["counts"]
    return (counts["lost"] + counts["gained"]) / (2 * k)


if __name__ == "__main__":
    main(run)
