"""Circuits: found, proved and compared, for autoregressive and diffusion models alike.

    circuit = analyses.circuits.attribute(model, batch, reading="prefix", method="eap-ig", steps=5)
    circuit.top(200)                                        # source, target, score
    analyses.circuits.faithfulness(model, batch, circuit)   # does the circuit alone do what the model does?

Grouped queries, biases, q and k norms, causal, open and block attention, inserted masks: one code for all of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Alone": "evaluation.isolated_run",
    "Circuit": "circuit",
    "Graph": "graph",
    "Provenance": "circuit",
    "Target": "graph",
    "attribute": "attribution.attribute",
    "attribute_by_step": "attribution.attribute",
    "compare": "comparison.compare",
    "cross": "evaluation.cross_faithfulness",
    "diff": "comparison.diff",
    "estimate": "attribution.cost",
    "faithfulness": "evaluation.faithfulness",
    "importance": "pictures",
    "layer_matched": "selection",
    "mass": "comparison.compare",
    "picture": "pictures",
    "read_json": "eap_ig_format",
    "run_alone": "evaluation.isolated_run",
    "select": "selection",
    "uniform": "selection",
    "write_json": "eap_ig_format",
}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"analyses.circuits.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'analyses.circuits' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
