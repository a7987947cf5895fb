"""Steering: push the residual stream towards an answer, by dose and by step, and find when it is too late.

    steering.dose(pair, batch)           how much a push of each dose moves the answer; at each step of a run
    steering.commitment(pair, batch)     the step from which a push no longer changes what is written
    steering.directions(states, layer)   the difference of means towards an answer, from the other half of the examples

A direction is the difference of mean states, after a layer and at the answer's slot, between examples whose answer is
the chosen one and the others. You may give your own: a probe's weights, a feature's decoder row. Every push is compared
with random directions of the same length, since any large enough push changes something.
"""

from __future__ import annotations

from analyses.steering.commitment import commitment
from analyses.steering.directions import directions
from analyses.steering.dose import dose

__all__ = ["commitment", "directions", "dose"]
