"""Hypotheses: what results say of the questions that were written down before anything was measured.

hypotheses.gather(results, names)           the estimates that decide, from any number of results
hypotheses.verdict(evidence)                each hypothesis: supported, contradicted or undecided, and why
hypotheses.two_by_two(cells)                is a change the weights' doing, or the attention mask's?
hypotheses.decomposition(ar, diffusion, controls)      more training, or what comes beyond it
hypotheses.grid(cells)                      the same figure at other prompts and circuit sizes
"""

from __future__ import annotations

from analyses.hypotheses.controls import decomposition, two_by_two
from analyses.hypotheses.decision import verdict
from analyses.hypotheses.evidence import gather
from analyses.hypotheses.robustness import grid, over_budgets

__all__ = ["decomposition", "gather", "grid", "over_budgets", "two_by_two", "verdict"]
