"""Interventions: the effect of an edit on the answer, and the cells that it can reach at all.

    zeroed = probe.zero("z", layer=2, head=3)
    interventions.effect(model, batch, [zeroed]).table     # margin and share answered right, before, after, difference
    interventions.effect(model, batch, [probe.only(zeroed, step=slice(0, 2))], reading="trajectory")  # while it writes
    interventions.cone(model, canvas, row=3, slots=[7])    # layer × slot: the cells that the change can reach

A change at layer l and slot s reaches the slots that may attend to s in later layers, then those that may attend to
these, and so on: under causal attention a cone that opens to the right, under full attention every slot one layer
later. A cell outside the cone cannot change, whatever the weights; one inside it may. `effect` costs two forward
passes.
"""

from __future__ import annotations

from analyses.interventions.edited_answers import WHEN, effect
from analyses.interventions.reach import cone

__all__ = ["WHEN", "cone", "effect"]
