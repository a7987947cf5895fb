"""Specialisation or distribution: do few components do the work, or many?

    spread(ar, diffusion).table        participation ratio, entropy, Gini, max, n_50, n_90: globally and within layers
    curves(knockouts, scores).table    knock-out curves against random order
    interaction(knockouts, scores)     single ablations against the joint one
    sufficiency(knockouts, scores)     the fewest components that keep 85% of the answer
    selectivity(pair, batch)           whether single neurons distinguish answers, and the same ones on other tasks

No single measure answers the question. Widely spread attribution can be noise, or redundancy: components that back each
other up look unimportant one by one but are important together. So attribution, knock-outs, interaction and sufficiency
are shown side by side.
"""

from __future__ import annotations

from analyses.specialization.curves import curves
from analyses.specialization.joint import interaction, sufficiency
from analyses.specialization.neurons import overlap, selectivity
from analyses.specialization.spread import spread

__all__ = ["curves", "interaction", "overlap", "selectivity", "spread", "sufficiency"]
