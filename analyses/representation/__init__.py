"""Representation: whether two models represent the same in the same layers, and what can be read off them.

    representation.cka(pair, batch)             linear CKA, layer × layer, clean and masked slots separately
    representation.cosine(pair, batch)          per token: raw, without outlier dimensions, z-scored
    representation.outliers(pair, batch)        the dimensions that dominate both
    representation.weight_drift(pair)           ‖ΔW‖/‖W‖ per module
    representation.probes(pair, batch, labels)  linear probes with control tasks and the mask-count baseline

`traces=` (or `states=` for probes) shares recordings: representation.traces_of(pair, batch, reading).
"""

from __future__ import annotations

from analyses.representation.cka import cka
from analyses.representation.cosine import cosine
from analyses.representation.drift import weight_drift
from analyses.representation.outliers import outliers
from analyses.representation.probes import probes
from analyses.representation.states import traces_of

__all__ = ["cka", "cosine", "outliers", "probes", "traces_of", "weight_drift"]
