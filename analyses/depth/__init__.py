"""Causal depth: which layers carry the answer, and how later layers use the output of earlier ones.

    causal_profile([Knockouts.of(model, batch)]).figure()           # what is lost without a layer
    causal_front_loading(ar, diffusion, controls)                   # has the loss moved to earlier layers?
    targeted([(knockouts, scores_of(circuit))])                     # early, middle, late against random components
    skip_effects(pair, batch)                                       # how skipping a layer changes later ones

`front_loading` measures the same by attribution.
"""

from __future__ import annotations

from analyses.depth.knockout_profile import causal_front_loading, causal_profile, causal_scores, targeted
from analyses.depth.layer_skipping import skip_effects

__all__ = ["causal_front_loading", "causal_profile", "causal_scores", "skip_effects", "targeted"]
