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
    "Alone": "alone",
    "Circuit": "circuit",
    "Graph": "graph",
    "Provenance": "circuit",
    "Target": "graph",
    "attribute": "attribution",
    "attribute_by_step": "attribution",
    "compare": "comparison",
    "cross": "crossing",
    "diff": "difference",
    "estimate": "cost",
    "faithfulness": "curve",
    "importance": "pictures",
    "layer_matched": "selection",
    "mass": "comparison",
    "picture": "pictures",
    "read_json": "interchange",
    "run_alone": "alone",
    "select": "selection",
    "uniform": "selection",
    "write_json": "interchange",
}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"analyses.circuits.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'analyses.circuits' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
