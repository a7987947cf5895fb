"""Attribution: the score of every edge and node of a model, on the prompts of a task.

    attribute(model, batch, reading="prefix", method="eap-ig", steps=5)
    attribute(model, batch, options=AttributionOptions(example_edges=True, directions=True))
    attribute_by_step(model, batch)             # a circuit for each step of a decoding run
    print(cost(config, n=256, length=64))       # memory and time beforehand, without the weights

An edge's score is what its source writes (`node_outputs`) times the gradient where its target reads
(`input_gradients`; a head's query, key and value apart: `qkv_projections`), multiplied out in `edge_scoring`. Which
points the gradients are taken at is said in `gradients`; `exact_patching` measures the same without gradients.
`prompts`, `metrics`, `ablation` and `position_roles` say what is asked; `batching` how many rows share a pass, and
`accumulation` how their contributions become a circuit.
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
