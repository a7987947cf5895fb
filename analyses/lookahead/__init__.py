"""Lookahead: can tokens that are not yet written be read off a state, and from which layer on?

A model that writes left to right may plan ahead; one that fills masks in any order may already decide later positions.
At each pass of a model's own decoding run, the slot that predicts the next position (the leftmost masked one) is
recorded, and a linear probe is fitted to the token that the run *will* write 1, 2, 3 … positions later. Positions that
the same pass writes do not count. The AR model's next position is its leftmost unwritten one, so both twins get the
same question.

A probe's accuracy has to beat three baselines, on held-out examples:

    control task   random labels, one per kind of prompt, which a probe can only memorise; the rest is *selectivity*
    place and count alone   the same probe, given only the position and the number of masks left: it learns the most
                   common token there; the rest is *gain*
    the AR twin    `role − ar` rows, paired by example

    lookahead.read(pair, batch).figure()
    lookahead.read(pair, batch, by_step=True)             # the same at each pass
    lookahead.read(pair, batch, slots="every")            # from every masked position, not only the next

Cost: one recorded decoding run, then three ridge classifiers per layer and distance.

What can be read off a state need not be used by the model. A patchscope lets the model read: it puts the state into
another example's run, and sees which tokens are then written (`analyses.lookahead.patchscope`):

    lookahead.patchscope(pair, batch).figure()
"""

from __future__ import annotations

from analyses.lookahead.patchscope import patchscope
from analyses.lookahead.probes import read

__all__ = ["patchscope", "read"]
