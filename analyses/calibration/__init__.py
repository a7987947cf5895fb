"""Calibration: do tests of true nulls reject as often as they should, and do intervals cover the truth?

    python -m analyses.calibration            # prints the table; --pairs 1000 for a finer one

Pairs of models are simulated whose true values are known: populations of node scores, from which the same prompts are
drawn for both twins. In null pairs the twin's heads are those of the AR model shuffled within each layer, so that all
measures of depth and spread stay equal although the heads differ; in the others depth, spread or both change by a known
amount. A tested difference should reject in 5% of null pairs, a 95% interval should cover the truth in 95%.

The table also has methods that are *not* used, to show why: percentile bootstraps of |mean| scores.
"""

from __future__ import annotations

from analyses.calibration.table import table

__all__ = ["table"]
