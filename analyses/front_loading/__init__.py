"""Front-loading: how early in the layers a model does its work, and whether its twin does it earlier.

    front_loading.index(ar, diffusion).table        FLI and early mass of each model, and their differences
    front_loading.profile(ar, diffusion).figure()   the share of attribution in each layer
    front_loading.did({"ioi": (ar, diffusion), …})  is the difference larger on global tasks than on local ones?
    front_loading.lookahead(prefix, one_mask)       what the tokens to the right of the answer change
    front_loading.spans(ar, diffusion)              where edges start, and how far they reach

All are made from circuits that were attributed before: no model runs again.
"""

from __future__ import annotations

from analyses.front_loading.tables import did, index, lookahead, profile, spans

__all__ = ["did", "index", "lookahead", "profile", "spans"]
