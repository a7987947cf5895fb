"""Hypotheses: what Mechanism Shift says of diffusion twins, written down beforehand, and the answers of the results.

    found = gather(results, {"ar": "zoo:ar", "diffusion": "zoo:masked", "ar-cpt": "zoo:ar-cpt"})
    verdict(found.evidence, missing=found.missing).table    # every hypothesis with its answer
    decomposition(ar, diffusion, {"ar-cpt": cpt})           # more training, diffusion, or a seed?
    two_by_two({("ar", "causal"): ar, …})                   # the weights, or the mask?
    grid(over_budgets(ar, diffusion, ks=(50, 200, None)))   # the same for other prompts and circuit sizes

`HYPOTHESES` are the statements, each with the quantity and the threshold that decide it.
"""

from __future__ import annotations

from analyses.hypotheses.controls import decomposition, two_by_two
from analyses.hypotheses.decision import Evidence, answer, verdict
from analyses.hypotheses.evidence import gather
from analyses.hypotheses.preregistered import HYPOTHESES, Hypothesis
from analyses.hypotheses.robustness import Cell, grid, over_budgets

__all__ = [
    "HYPOTHESES",
    "Cell",
    "Evidence",
    "Hypothesis",
    "answer",
    "decomposition",
    "gather",
    "grid",
    "over_budgets",
    "two_by_two",
    "verdict",
]
