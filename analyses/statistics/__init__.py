"""Statistics, in one place for all measures: intervals, tests, corrections, effect sizes, equivalence.

    from analyses import statistics

    statistics.mean(values)                                 # of (n, …) values, each cell with its interval
    statistics.bootstrap(lambda w: f(w @ a, w @ b), n)      # any statistic of weighted examples, paired automatically
    statistics.recentred(make, scores)                      # any statistic of magnitudes, with noise subtracted
    statistics.sign_flip(differences)                       # exact under exchange of two models, cell by cell
    statistics.adjusted(p)                                  # Benjamini-Hochberg
    statistics.equivalence(differences, margin)             # two one-sided tests: is it unchanged, within a margin?

An estimate is an `Estimate`: arrays of one shape with the interval, the p-value against 0, and n.
"""

from __future__ import annotations

from analyses.statistics.bootstrap import KINDS, bootstrap, bootstrap_of, mean, ratio
from analyses.statistics.combination import combination
from analyses.statistics.effects import Equivalence, cliffs_delta, equivalence, hedges_g, paired_d
from analyses.statistics.estimate import Estimate, Statistic
from analyses.statistics.finite import refuse_not_finite
from analyses.statistics.magnitudes import magnitudes, squares
from analyses.statistics.permutation import adjusted, permutation, sign_flip
from analyses.statistics.recentred import recentred, without_noise
from analyses.statistics.weights import RESAMPLES, crossed, nested, resamples, uniform, without_each

__all__ = [
    "KINDS",
    "RESAMPLES",
    "Equivalence",
    "Estimate",
    "Statistic",
    "adjusted",
    "bootstrap",
    "bootstrap_of",
    "cliffs_delta",
    "combination",
    "crossed",
    "equivalence",
    "hedges_g",
    "magnitudes",
    "mean",
    "nested",
    "paired_d",
    "permutation",
    "ratio",
    "recentred",
    "refuse_not_finite",
    "resamples",
    "sign_flip",
    "squares",
    "uniform",
    "without_each",
    "without_noise",
]
