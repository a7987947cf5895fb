"""Replications: what the systems' papers claim of their own methods, tested on the shipped twins.

    replications.samplers(models, task)            diffusion decoding against autoregression: accuracy, passes
    replications.survival(ar, causal, both, task)  the AR twin's right answers that each adapted model keeps
    replications.horizons(model, task)             elastic horizons against fixed strides: tokens per pass, accuracy
    replications.foresight(model, prompts)         the length of strides against the entropy of the text
    replications.few_steps(models, task, …)        flows, flow maps and the discrete twin in 1, 2, 4, 8 steps
    replications.beyond(models, task)              flows against independent tokens, a map's one step against its flow's
    replications.frontier(models, judge, texts)    on text: likelihood under the AR model, variety, and how far off
    replications.beyond_text(models, texts)        the same as beyond, on running text
    replications.distillation(flow, texts)         the cost of a training step with each of the three targets
    replications.adaptation(curves)                steps to the same loss, from an AR model and from random weights
    replications.examined(curves)                  accuracy of differently trained models after equally many steps

Each is a `Result`. Callers pass the models; nothing is loaded here.
"""

from __future__ import annotations

from analyses.replications.adaptation import samplers, survival
from analyses.replications.distillation_cost import distillation
from analyses.replications.flows import FlowModels, beyond, few_steps
from analyses.replications.fluid_horizons import foresight, horizons
from analyses.replications.text_frontier import beyond_text, frontier
from analyses.replications.training_curves import adaptation, examined

__all__ = [
    "FlowModels",
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
