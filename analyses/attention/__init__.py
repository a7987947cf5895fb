"""Attention: what each head looks at, on both sides, and where attention is parked.

    attention.heads(model, tokens).table      layer, head, previous, next, same, induction, reverse_induction, sink, …
    attention.highest(result, "induction")    the head that scores highest on one of them
    attention.looks(pair, batch)              where each head looks from the slot that answers: at which named place
    attention.sinks(model, trajectory)        the sink of each step of a decoding run
    attention.patterns(pair, batch)           one example to look at: who looks at whom in each head
    attention.watched(model)                  the same sums over any forward pass that somebody else makes

Patterns are reduced as they are made, so that 32 layers over 2,048 tokens cost the memory of one.
"""

from __future__ import annotations

from analyses.attention.heads import heads, highest
from analyses.attention.looks import looks
from analyses.attention.pattern_view import patterns
from analyses.attention.sinks import sinks
from analyses.attention.watching import watched

__all__ = ["heads", "highest", "looks", "patterns", "sinks", "watched"]
