"""Circuits of made-up scores: whatever compares circuits can be tested without a model."""

from __future__ import annotations

import numpy as np

from analyses.circuits.circuit import Circuit, Provenance
from analyses.circuits.graph import Graph

SMALL = Graph(n_layers=3, n_heads=4, n_kv_heads=4)
GROUPED = Graph(n_layers=3, n_heads=4, n_kv_heads=2)
DIRECTED = Graph(n_layers=3, n_heads=4, n_kv_heads=2, directions=True)


def about(**other) -> Provenance:
    said = {
        "model": "made up", "paradigm": "autoregressive", "task": "none", "reading": "ar", "method": "eap-ig",
        "steps": 5, "metric": "logit_difference", "ablation": "corrupt", "n": 1, "seed": 0,
        "clean": 3.0, "corrupt": -3.0,
    }  # fmt: skip
    return Provenance(**{**said, **other})


def circuit_of(graph: Graph, example_edges: np.ndarray, **said) -> Circuit:
    """A circuit from edge scores (n × sources × targets); cells that are no edges are put to 0."""
    edges = np.where(graph.valid, example_edges, 0.0)
    per_example = np.concatenate([edges.sum(2), edges[:, :, -1].sum(1, keepdims=True)], axis=1)
    return Circuit(graph, edges.mean(0), per_example, about(n=len(edges), **said), by_example=edges[:, graph.valid])


def random_circuit(
    graph: Graph = SMALL, *, n: int = 40, noise: float = 0.5, seed: int = 0, scores: np.ndarray | None = None, **said
) -> Circuit:
    """Heavy-tailed true scores, seen with noise on every example."""
    generator = np.random.default_rng(seed)
    truth = heavy(graph, generator) if scores is None else scores
    drawn = truth + noise * generator.standard_normal((n, *graph.shape))
    return circuit_of(graph, drawn, **said)


def heavy(graph: Graph, generator: np.random.Generator) -> np.ndarray:
    """Scores of either sign, few of them large."""
    return generator.choice([-1, 1], graph.shape) * generator.lognormal(0, 2, graph.shape) * graph.valid
