"""Evaluation: circuits run alone, in their own model and in another.

faithfulness(model, batch, circuit).figure()        # f over the share of edges, compared with random circuits
cross(pair, batch, {"ar": ar, "diffusion": mdm})    # each circuit in each model
at_sizes(model, batch, circuit, ks=(100, 200))      # f at the sizes used for an overlap
isolated_run(model, batch, Isolated(graph, masks))  # any circuits: the metric of each example
"""

from __future__ import annotations

from analyses.circuits.evaluation.cross_faithfulness import cross
from analyses.circuits.evaluation.faithfulness import at_sizes, faithfulness
from analyses.circuits.evaluation.isolated_run import Isolated, IsolatedRun, isolated_run
from analyses.circuits.evaluation.options import EvaluationOptions

__all__ = ["EvaluationOptions", "Isolated", "IsolatedRun", "at_sizes", "cross", "faithfulness", "isolated_run"]
