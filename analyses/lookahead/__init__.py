"""Lookahead: can tokens that are not yet written be read off a state, and off which layer?

A model that writes left to right may plan ahead; one that fills masks in any order has places ahead of it that it could
already be deciding. At each pass of a model's own decoding run, the slot where the next place (the leftmost open one)
is read is recorded, and a linear probe is fitted to the token that the run *will* write 1, 2, 3 … places on. Places
that this very pass writes do not count. Both twins are asked the same: the AR model's next place is its leftmost open
one too.

A probe that says yes has to beat three things, on examples it was not fitted to:

    control task   random labels, one a kind of prompt: what it learns of them it memorised; the rest is *selectivity*
    place and count alone   the same probe, given which place it is and how many masks are left: what stands there in
                   most texts anyway; the rest is *gain*
    the AR twin    `role − ar` rows, paired by example

    lookahead.read(pair, batch).figure()
    lookahead.read(pair, batch, by_step=True)             # the same at each pass
    lookahead.read(pair, batch, slots="every")            # from every open place, not the next alone

Cost: one decoding run that is recorded, then three ridge classifiers a layer and distance.
"""

from __future__ import annotations

from analyses.lookahead.probes import read

__all__ = ["read"]
