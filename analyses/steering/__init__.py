"""Steering: push the stream towards an answer, in what amount, at which step, and see when it is too late.

    steering.dose(pair, batch)           how much a push of each size moves the answer; at each step of a run
    steering.commitment(pair, batch)     from which step on a push no longer changes what is written
    steering.directions(states, layer)   the difference of means towards an answer, from the other half of the examples

A direction is the difference of mean states, behind a layer and at the slot that answers, between examples whose answer
is the chosen one and the others. Any of one's own serves as well: a probe's weights, a feature's decoder row. Beside
every push stand random directions of the same length, since any long enough push moves something.
"""

from __future__ import annotations

from analyses.steering.commitment import commitment
from analyses.steering.directions import directions
from analyses.steering.dose import dose

__all__ = ["commitment", "directions", "dose"]
