"""The circuit graph as a view: its edges are the circuit's strongest, with their scores, ranks and intervals."""

from __future__ import annotations

import json

import numpy as np
import pytest

import analyses
import probe
from analyses.circuits import AttributionOptions, graph_view
from probe.errors import ProbeError


@pytest.fixture(scope="module")
def circuits():
    pair = probe.load_pair("zoo:masked", selftest="off")
    batch = probe.task("ioi").examples(pair, 6, fewer=True)
    how = AttributionOptions(example_edges=True)
    return [analyses.circuits.attribute(model, batch, steps=2, options=how) for model in (pair.ar, pair.diffusion)]


def test_every_edge_says_what_its_circuit_says(circuits):
    view = json.loads(graph_view(*circuits, k=20, seed=circuits[1]).json())
    graph = circuits[0].graph
    names = {"input": "input", "logits": "logits"}
    names |= {
        f"a{layer}.h{head}": f"L{layer}H{head}" for layer in range(graph.n_layers) for head in range(graph.n_heads)
    }
    names |= {f"m{layer}": f"MLP {layer}" for layer in range(graph.n_layers)}
    found = {
        (view["nodes"][edge["source"]]["label"], view["nodes"][edge["target"]]["label"], edge["kind"]): edge
        for edge in view["edges"]
    }
    chosen = np.argwhere(np.logical_or.reduce([graph.mask(circuit.top(20)) for circuit in circuits]))
    place = {(int(source), int(target)): at for at, (source, target) in enumerate(chosen)}
    for which, circuit in enumerate(circuits):
        own = analyses.statistics.mean(circuit.example_edges[:, chosen[:, 0], chosen[:, 1]])
        top = circuit.top(20)
        for rank, row in enumerate(top.itertuples(), 1):
            source, target = graph.source(row.source), graph.target(row.target)
            read = graph.target_values[target]
            reader = (graph.nodes_of(read) or ["logits"])[0]
            edge = found[names[row.source], names[reader], read.kind]
            assert edge["scores"][which] == pytest.approx(float(row.score), rel=1e-3)
            assert edge["ranks"][which] == rank
            at = place[source, target]
            assert edge["low"][which] == pytest.approx(float(own.low[at]), rel=1e-3)
            assert edge["high"][which] == pytest.approx(float(own.high[at]), rel=1e-3)
            assert edge["seed"] == pytest.approx(float(circuits[1].scores[source, target]), rel=1e-3)
    assert min(min(edge["ranks"]) for edge in view["edges"]) == 1
    assert all(min(edge["ranks"]) <= 20 for edge in view["edges"])


def test_circuits_of_two_shapes_are_no_one_graph(circuits):
    other = analyses.circuits.Graph(2, 2, 2)
    small = analyses.circuits.Circuit(
        other, np.zeros(other.shape), np.zeros((1, other.n_sources + 1)), circuits[0].about
    )
    with pytest.raises(ProbeError, match="circuits of one shape"):
        graph_view(circuits[0], small)
