"""How well a circuit's scores tell the edges that were planted from all others."""

from __future__ import annotations

from sklearn.metrics import roc_auc_score

from analyses.circuits.circuit import Circuit


def auroc(circuit: Circuit, planted: frozenset[tuple[str, str]]) -> float:
    """How well |score| tells planted edges from all others."""
    edges = circuit.edges
    is_planted = [edge in planted for edge in zip(edges["source"], edges["target"], strict=True)]
    assert sum(is_planted) == len(planted)
    return float(roc_auc_score(is_planted, edges["score"].abs()))
