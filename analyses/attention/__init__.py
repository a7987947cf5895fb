"""Attention: what each head attends to, on both sides, and where its sinks are.

    attention.heads(model, tokens).table      layer, head, previous, next, same, induction, reverse_induction, sink, …
    attention.highest(result, "induction")    the head that scores highest on one of them
    attention.looks(pair, batch)              attention from the answer's slot to each named position
    attention.sinks(model, trajectory)        the sink of each step of a decoding run
    attention.patterns(pair, batch)           one example's attention pattern in each head, as a view
    attention.watched(model)                  the same scores for any forward pass

Each pattern is reduced as soon as it is computed, so that 32 layers over 2,048 tokens cost the memory of one.
"""

from __future__ import annotations

from analyses.attention.heads import heads, highest
from analyses.attention.looks import looks
from analyses.attention.pattern_view import patterns
from analyses.attention.sinks import sinks
from analyses.attention.watching import watched

__all__ = ["heads", "highest", "looks", "patterns", "sinks", "watched"]
