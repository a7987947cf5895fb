"""Depth by cause: which layers carry the answer, and what later layers do with what earlier ones wrote.

    causal_profile([Knockouts.of(model, batch)]).figure()           # what is lost without a layer
    causal_front_loading(ar, diffusion, controls)                   # has that moved earlier?
    targeted([(knockouts, scores_of(circuit))])                     # early, middle, late, beside random components
    skip_effects(pair, batch)                                       # what leaving a layer out changes in later ones

`front_loading` measures the same by attribution.
"""

from __future__ import annotations

from analyses.depth.knockout_profile import causal_front_loading, causal_profile, causal_scores, targeted
from analyses.depth.layer_skipping import skip_effects

__all__ = ["causal_front_loading", "causal_profile", "causal_scores", "skip_effects", "targeted"]
