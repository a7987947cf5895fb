"""Calibration: do the tests reject as often as they say where nothing differs, and do the intervals cover?

    python -m analyses.calibration            # prints the table; --pairs 1000 for a finer one

Pairs of models are simulated whose true figures are known: populations of node scores, from which the same prompts are
drawn for both twins. In null pairs the twin's heads are those of the AR model in another order within each layer, so
that every figure of depth and spread is the same and nothing else is; in the others depth, spread or both have changed
by a known amount. A tested difference should reject in 5% of null pairs, a 95% interval should cover the truth in 95%.

The table also holds what is *not* used, and why: percentile bootstraps of |mean| scores.
"""

from __future__ import annotations

from analyses.calibration.table import table

__all__ = ["table"]
