"""The measures: functions from traces, circuits and models to a Result, a tidy table with intervals and its figure.

A circuit study needs two imports:

    import probe, analyses

    pair  = probe.load_pair("zoo:masked")
    batch = probe.task("ioi").batch(pair, n=256, seed=0)                 # prompts that both twins answer right
    ar    = analyses.circuits.attribute(pair.ar, batch)                  # AR models always use the reading "ar"
    mdm   = analyses.circuits.attribute(pair.diffusion, batch)

    analyses.circuits.compare(ar, mdm).figure()                          # how many edges the two have in common
    analyses.front_loading.index(ar, mdm).table                          # how early each computes, and the difference
    analyses.lens.logit_lens(pair, batch).figure()                       # from which layer on the answer is there
    analyses.attention.heads(pair, batch, reading="prefix").table        # what each head looks at

Each package below answers one kind of question, and its docstring lists its functions. Nothing here loads a model from
disk or depends on a user interface. A package is imported when it is first used, so `import analyses` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from probe.lazy import lazy

if TYPE_CHECKING:
    from analyses import (
        activations,
        answers,
        attention,
        calibration,
        circuits,
        clock,
        components,
        depth,
        dials,
        features,
        front_loading,
        hypotheses,
        interventions,
        lens,
        lookahead,
        plots,
        replications,
        representation,
        revision,
        specialization,
        statistics,
        steering,
    )
    from analyses.result import Result

__all__ = [  # noqa: RUF022  (in the order in which a study comes to them)
    "Result",
    "answers",  # whether the models answer at all: accuracy
    "circuits",  # which edges matter: attribute, faithfulness, compare, cross
    "front_loading",  # how early attribution lies: index, profile, did, spans
    "specialization",  # whether few components do the work: spread, curves, selectivity
    "components",  # heads and MLPs knocked out one by one and together
    "depth",  # layers knocked out or skipped: what is lost, and how later layers change
    "lens",  # what each layer or component would answer: logit_lens, tuned_lens, direct
    "interventions",  # the effect of an edit, and the cells that it can reach: effect, cone
    "attention",  # what each head looks at: heads, sinks
    "activations",  # the states at the answers' slots, and what each layer adds to them
    "representation",  # whether two models represent the same: cka, cosine, probes, weight_drift
    "revision",  # how answers change during decoding: by_step
    "steering",  # steering along a direction, by dose and by step: dose, commitment
    "clock",  # how much is still masked: which layers encode it, and the effect of shifting it
    "lookahead",  # whether tokens not yet written can be read off a state
    "features",  # sparse features of one model or of both twins: train, crosscoder, compare, evaluate
    "dials",  # any measure along a training from AR to diffusion, and where it changes
    "hypotheses",  # what the results say, taken together: verdict, two_by_two, decomposition
    "replications",  # what the systems' papers claim of their own methods, tested on the shipped twins
    "statistics",  # intervals, tests, corrections
    "calibration",  # how often those tests are wrong
    "plots",  # the drawings that results name
]

__getattr__, __dir__ = lazy(__name__, {"result": ("Result",)}, rooms=[name for name in __all__ if name != "Result"])
