"""Circuits: found, run alone, and compared, for autoregressive and diffusion models alike.

    circuit = circuits.attribute(model, batch, reading="prefix", method="eap-ig", steps=5)
    circuit.top(200)                                        # source, target, score
    circuits.faithfulness(model, batch, circuit).figure()   # does the circuit alone do what the model does?
    circuits.compare(ar, diffusion).table                   # how much two circuits have in common
    circuits.cross(pair, batch, {"ar": ar, "diffusion": diffusion})   # does one's circuit do it in the other?

There are three rooms: `attribution` scores edges and nodes, `evaluation` runs circuits alone, `comparison` compares
their edges. Here lies what all three share: the graph, the circuit, the choice of its edges, its pictures, and EAP-IG's
file format. One code serves grouped queries, biases, q and k norms, causal, open and block attention, and inserted
masks.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
    from analyses.circuits.pictures import importance, picture
    from analyses.circuits.selection import layer_matched, select, uniform

# Imported when they are first used: attribution needs torch, and a job's plan needs none of it.
_HOMES = {
    **dict.fromkeys(("AttributionOptions", "Cost", "attribute", "attribute_by_step", "cost"), "attribution"),
    **dict.fromkeys(("Circuit", "Provenance"), "circuit"),
    **dict.fromkeys(("DiffOptions", "budgets", "compare", "diff", "mass"), "comparison"),
    **dict.fromkeys(("read_json", "write_json"), "eap_ig_format"),
    **dict.fromkeys(("EvaluationOptions", "Isolated", "IsolatedRun", "at_sizes"), "evaluation"),
    **dict.fromkeys(("cross", "faithfulness", "isolated_run"), "evaluation"),
    **dict.fromkeys(("Graph", "Target"), "graph"),
    **dict.fromkeys(("importance", "picture"), "pictures"),
    **dict.fromkeys(("layer_matched", "select", "uniform"), "selection"),
}

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
    "importance",
    "read_json",
    "write_json",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"analyses.circuits.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'analyses.circuits' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
