"""Circuits: found, run alone, and compared, for autoregressive and diffusion models alike.

    circuit = circuits.attribute(model, batch, reading="prefix", method="eap-ig", steps=5)
    circuit.top(200)                                        # source, target, score
    circuits.faithfulness(model, batch, circuit).figure()   # does the circuit alone do what the model does?
    circuits.compare(ar, diffusion).table                   # how much two circuits have in common
    circuits.cross(pair, batch, {"ar": ar, "diffusion": diffusion})   # does one model's circuit work in the other?

Three packages: `attribution` scores edges and nodes, `evaluation` runs circuits alone, `comparison` compares their
edges. The modules here are shared by all three: the graph, the circuit, the choice of its edges, its pictures, and
EAP-IG's file format. The same code serves grouped queries, biases, q and k norms, causal, full and block attention, and
inserted masks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from probe.lazy import lazy

if TYPE_CHECKING:
    from analyses.circuits.attribution import AttributionOptions, Cost, attribute, attribute_by_step, cost
    from analyses.circuits.circuit import Circuit, Provenance
    from analyses.circuits.comparison import DiffOptions, budgets, compare, diff, mass
    from analyses.circuits.eap_ig_format import read_json, write_json
    from analyses.circuits.evaluation import (
        EvaluationOptions,
        Isolated,
        IsolatedRun,
        at_sizes,
        cross,
        faithfulness,
        isolated_run,
    )
    from analyses.circuits.graph import Graph, Target
    from analyses.circuits.graph_view import graph_view
    from analyses.circuits.node_changes import node_changes
    from analyses.circuits.pictures import importance, picture
    from analyses.circuits.selection import layer_matched, select, uniform
    from analyses.circuits.tracer_format import write_graph

__all__ = [  # noqa: RUF022  (in the order in which they are used)
    "attribute",
    "attribute_by_step",
    "AttributionOptions",
    "cost",
    "Cost",
    "Circuit",
    "Provenance",
    "Graph",
    "Target",
    "select",
    "layer_matched",
    "uniform",
    "faithfulness",
    "cross",
    "at_sizes",
    "isolated_run",
    "Isolated",
    "IsolatedRun",
    "EvaluationOptions",
    "compare",
    "budgets",
    "diff",
    "DiffOptions",
    "mass",
    "picture",
    "graph_view",
    "node_changes",
    "importance",
    "read_json",
    "write_graph",
    "write_json",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "attribution": ("AttributionOptions", "Cost", "attribute", "attribute_by_step", "cost"),
        "circuit": ("Circuit", "Provenance"),
        "comparison": ("DiffOptions", "budgets", "compare", "diff", "mass"),
        "eap_ig_format": ("read_json", "write_json"),
        "evaluation": (
            "EvaluationOptions",
            "Isolated",
            "IsolatedRun",
            "at_sizes",
            "cross",
            "faithfulness",
            "isolated_run",
        ),
        "graph": ("Graph", "Target"),
        "graph_view": ("graph_view",),
        "node_changes": ("node_changes",),
        "pictures": ("importance", "picture"),
        "tracer_format": ("write_graph",),
        "selection": ("layer_matched", "select", "uniform"),
    },
)
