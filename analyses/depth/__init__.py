"""Depth: what a model loses when whole layers are left out, and what its later layers then do differently.

depth.effects(pair, batch)                  how much skipping a layer changes each later one
depth.causal_profile(knockouts)             the share of the answer that each layer (or window of layers) carries
depth.causal_front_loading(ar, diffusion, controls)    the front-loading index of that
depth.targeted(…)                           the strongest components of a third of the layers, against random ones
"""

from __future__ import annotations

from analyses.depth.knockout_profile import causal_front_loading, causal_profile, causal_scores, targeted
from analyses.depth.layer_skipping import effects

__all__ = ["causal_front_loading", "causal_profile", "causal_scores", "effects", "targeted"]
