"""Changes of nodes: the planted one comes out first, with its interval, and equal circuits differ nowhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analyses import circuits
from analyses.circuits import Circuit, Graph
from analyses.circuits.circuit import Provenance
from probe.errors import ProbeError

GRAPH = Graph(2, 2, 2)
PLANTED = GRAPH.sources.index("a1.h0")


def circuit(model: str, planted: float = 0.0, n: int = 40) -> Circuit:
    scores = np.random.default_rng(0).normal(0, 0.1, (n, GRAPH.n_sources + 1))
    scores[:, PLANTED] += planted
    about = Provenance(model, "masked", "ioi", "prefix", "eap", 1, "margin", "patch", n, 0)
    return Circuit(GRAPH, np.zeros(GRAPH.shape), scores, about)


def test_the_head_that_took_over_comes_first():
    ar = circuit("ar")
    twin = circuit("twin", -2.0)
    noise = np.random.default_rng(1).normal(0, 0.1, twin.per_example.shape)
    twin = replace(twin, per_example=twin.per_example + noise)
    found = circuits.node_changes(ar, twin)
    first, *others = found.table.itertuples()
    assert (first.node, first.layer, first.head) == ("a1.h0", 1, 0)
    assert first.low < -2 < first.high
    assert first.q < 0.01
    assert first.estimate == pytest.approx(first.diffusion - first.ar)
    assert max(abs(other.estimate) for other in others) < 0.2
    assert len(found.figure().data)


def test_circuits_over_other_prompts_are_refused():
    with pytest.raises(ProbeError, match="same prompts"):
        circuits.node_changes(circuit("ar"), circuit("twin", n=30))
