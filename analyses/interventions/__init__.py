"""Interventions: what a change at one place does to the answer, and which places it can reach at all.

    zeroed = probe.zero("z", layer=2, head=3)
    interventions.effect(model, batch, [zeroed]).table     # margin and share answered right, before, after, difference
    interventions.cone(model, canvas, row=3, slots=[7])    # layer × slot: where attention lets the change be felt

A change at layer l and slot s reaches the slots that may look at s in the layers above it, then those that may look at
these, and so on: under causal attention a cone that opens to the right, under open attention everything one layer up.
A cell outside the cone cannot move, whatever the weights; one inside it may. `effect` costs two forward passes.
"""

from __future__ import annotations

from analyses.interventions.edited_answers import WHEN, effect
from analyses.interventions.reach import cone

__all__ = ["WHEN", "cone", "effect"]
