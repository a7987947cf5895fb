"""Watching attention: every pattern is reduced as soon as it is computed, and then freed.

The patterns of 32 layers of 32 heads over 2,048 tokens take 17 GB for one text, but only ten numbers per head are
needed. So nothing here records patterns. Inside `watched(model)` every forward pass, whoever makes it, reduces each
layer's pattern to those numbers at once:

    with watched(model) as seen:
        trace = probe.record(model, batch, sites, reading="prefix")     # or probe.decode(…), or model.logits(…)
    seen.passes                                                         # one per forward pass

A pattern is reduced one block of queries at a time, so that temporary arrays stay small too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from analyses.attention.marks import MARKS, Words
from probe.models.model import Model
from probe.paradigms.canvas import Canvas
from probe.tracing.selection import Selection
from probe.tracing.sites import Site
from probe.tracing.tracers.hooks import attached

MEASURES = (*MARKS, "entropy", "sink", "sink_place", "sink_masked")
_AT_ONCE = 2**24  # numbers of a block of queries' marks or pattern


@dataclass
class Pass:
    """One forward pass: the MEASURES of each example, layer and head; NaN where an example has no such key."""

    canvas: Canvas
    layers: list[Tensor] = field(default_factory=list)  # each example × head × MEASURES

    @property
    def scores(self) -> Tensor:
        """example × layer × head × MEASURES."""
        return torch.stack(self.layers, 1)


@dataclass
class Watch:
    """What was seen, pass by pass."""

    model: Model
    passes: list[Pass] = field(default_factory=list)
    _words: Words | None = None

    def sees(self, canvas: Canvas) -> None:
        self.passes.append(Pass(canvas))
        self._words = Words.of(self.model, canvas)

    def take(self, one: Site, layer: int, view: Tensor, *, projected: bool = False) -> None:
        assert self._words is not None
        allowed = self.model.allowed(self.passes[-1].canvas, layer)
        self.passes[-1].layers.append(scores(view.detach(), allowed, self._words))


@contextmanager
def watched(model: Model) -> Iterator[Watch]:
    """Watch the attention of every forward pass of a model for as long as the context lasts."""
    watch = Watch(model)
    before = model.attention_override
    model.before_run.append(watch.sees)
    model.attention_override = before or "eager"  # patterns need the eager kernel; an edited pattern already uses it
    try:
        with attached(model, Selection.of(model, "pattern"), watch.take):
            yield watch
    finally:
        model.attention_override = before
        model.before_run.remove(watch.sees)


def scores(pattern: Tensor, allowed: Tensor, words: Words) -> Tensor:
    """The MEASURES (example × head) of one layer's pattern (example × head × query × key); `allowed` says
    who sees whom in that layer."""
    batch, heads, queries, keys = pattern.shape
    visible = allowed.expand(batch, -1, -1).to(pattern.device) & words.real[:, None] & words.real[:, :, None]
    marked = pattern.new_zeros(batch, heads, len(MARKS))
    have = pattern.new_zeros(batch, len(MARKS))
    entropy, looked_at = pattern.new_zeros(batch, heads), pattern.new_zeros(batch, heads, keys)
    per = max(1, _AT_ONCE // (batch * keys * max(heads, len(MARKS))))
    for start in range(0, queries, per):
        some = slice(start, start + per)
        block, marks = pattern[:, :, some], words.marks(some).to(pattern)
        marked += block.flatten(2) @ marks.flatten(1, 2)
        have += marks.ne(0).any(2).sum(1)
        count = visible[:, some].sum(-1)
        share = torch.where(count > 1, 1 / count.clamp(min=2).log(), 0.0)
        entropy += torch.einsum("bhq,bq->bh", torch.special.entr(block).sum(-1), share.to(pattern))
        looked_at += torch.einsum("bhqk,bq->bhk", block, words.real[:, some].to(pattern))
    texts = words.real.sum(1).to(pattern)
    have[:, MARKS.index("offset")] = texts  # every query has an offset, even if it is 0
    several = (visible.sum(-1) > 1).sum(1).to(pattern)
    sink = _sink(looked_at / texts[:, None, None], words)
    averaged = torch.cat([marked / _or_nan(have)[:, None], (entropy / _or_nan(several)[:, None])[..., None]], -1)
    return torch.cat([averaged, sink], -1).float().cpu()


def _or_nan(count: Tensor) -> Tensor:
    return count.masked_fill(count == 0, torch.nan)


def _sink(mass: Tensor, words: Words) -> Tensor:
    """The most attended key of each example and head: its share of all attention, its position, whether it is a
    mask."""
    most, slot = mass.max(-1)
    flat = slot.flatten(1).to(words.places.device)
    place, hidden = (of.gather(1, flat).view_as(slot).to(most) for of in (words.places, words.hidden))
    return torch.stack([most, place, hidden], -1)
