"""Front-loading: how early a model computes, and whether its diffusion twin computes earlier.

    index(ar, diffusion).table          # FLI and early mass of each model, their change, W₁ between the profiles
    profile(ar, diffusion).figure()     # the share of attribution in each layer
    did({"ioi": (ar, diffusion), "countdown": (…)})     # more so on global tasks?
    spans(ar, diffusion).table          # where edges start, and how many layers they span
    right_context(prefix, one_mask).table   # earlier if the model sees the right context?

All take circuits, or the `Scores` of a knock-out. `index_of` and `early_of` are FLI and early mass as measures of
scores.
"""

from __future__ import annotations

from analyses.front_loading.statistic import early_of, index_of, profile_of, wasserstein
from analyses.front_loading.tables import did, index, profile, right_context, spans

__all__ = ["did", "early_of", "index", "index_of", "profile", "profile_of", "right_context", "spans", "wasserstein"]
