"""Attribution: the score of every edge and node of a model, on the prompts of a task.

    attribute(model, batch, reading="prefix", method="eap-ig", steps=5)
    attribute(model, batch, options=AttributionOptions(example_edges=True, directions=True))
    attribute_by_step(model, batch)             # a circuit for each step of a decoding run
    print(cost(config, n=256, length=64))       # memory and time beforehand, without the weights

An edge's score is its source's output (`node_outputs`) times the gradient at its target's input (`input_gradients`;
separate for a head's query, key and value: `qkv_projections`), multiplied in `edge_scoring`. `gradients` chooses the
points at which gradients are taken; `exact_patching` measures the same without gradients. `prompts`, `metrics`,
`ablation` and `position_roles` define the question; `batching` decides how many rows share a pass, and `accumulation`
adds their contributions up to a circuit.
"""

from __future__ import annotations

from analyses.circuits.attribution.attribute import METHODS, attribute, attribute_by_step
from analyses.circuits.attribution.cost import Cost, cost
from analyses.circuits.attribution.metrics import METRICS, Metric
from analyses.circuits.attribution.options import AttributionOptions
from analyses.circuits.attribution.prompts import PromptPairs, Truth

__all__ = [
    "METHODS",
    "METRICS",
    "AttributionOptions",
    "Cost",
    "Metric",
    "PromptPairs",
    "Truth",
    "attribute",
    "attribute_by_step",
    "cost",
]
