"""Comparison: what the edges of two circuits have in common. No model is run.

    compare(ar, diffusion).table        # Jaccard over K with chance and ceiling, retention, Spearman
    diff(ar, diffusion, null=[(ar, ar_seed2)]).table    # edges kept, lost and gained
    mass(ar, diffusion).table           # the share of attribution of each kind of edge

Intervals need circuits that kept the edge scores of every example (`AttributionOptions(example_edges=True)`).
"""

from __future__ import annotations

from analyses.circuits.comparison.compare import budgets, compare, mass
from analyses.circuits.comparison.diff import DiffOptions, diff

__all__ = ["DiffOptions", "budgets", "compare", "diff", "mass"]
