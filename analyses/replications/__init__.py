"""The systems' own claims, asked of the twins at hand: whatever comes out is what is written.

    claims.samplers(models, task)            diffusion decoding against autoregression: accuracy and forward passes
    claims.survival(ar, causal, both, task)  what is left of the AR twin's answers after either way of adapting it
    claims.horizons(model, task)             elastic horizons against fixed strides: tokens a pass, rejections, accuracy
    claims.foresight(model, prompts)         how far a stride goes against how open the text is
    claims.few_steps(models, task, …)        flows, flow maps and the discrete twin in 1, 2, 4, 8 steps; flow by flow
    claims.beyond(flow, map, masked, task)   flows against independent tokens, a map's one step against its flow's
    claims.frontier(models, judge, texts)    on text: likelihood under the AR model against variety, and how far off
    claims.beyond_text(flow, map, masked, …) the same as beyond, on running text
    claims.distillation(flow, texts)         what a lesson of each of the three targets costs
    claims.adaptation(curves)                steps to the same loss, from an AR model and from nothing
    claims.examined(curves)                  what trainings that differ in one thing had learnt in as many steps

Each is a `Result`. Models are handed over, never loaded.
"""

from __future__ import annotations

from analyses.replications.adaptation import samplers, survival
from analyses.replications.distillation_cost import distillation
from analyses.replications.flows import beyond, few_steps
from analyses.replications.fluid_horizons import foresight, horizons
from analyses.replications.text_frontier import beyond_text, frontier
from analyses.replications.training_curves import adaptation, examined

__all__ = [
    "adaptation",
    "beyond",
    "beyond_text",
    "distillation",
    "examined",
    "few_steps",
    "foresight",
    "frontier",
    "horizons",
    "samplers",
    "survival",
]
