"""Marks: the keys that a kind of head attends to, as weights on (query, key) for summing a pattern.

Its attention makes a head a previous-token head or an induction head. So every score here is
Σ pattern × mark over a query's keys, averaged over the queries that have such a key in the text:

    previous           the token before
    next               the token after; exactly 0 under a causal mask
    same               the query's own slot
    duplicate          another occurrence of the query's token
    induction          what follows an earlier occurrence of the query's token
    reverse_induction  what precedes a later occurrence: the same with the text read backwards
    offset             key's position minus the query's: below 0 a head looks back, above 0 ahead

Reading the text backwards swaps previous with next, induction with reverse induction, and the sign of the offset.

A mask is not a token: it duplicates nothing, and a slot that holds one has no token of its own. But a slot that
predicts a hidden token counts as that token's position. Its neighbours are then the visible tokens on both sides of
*that position*: the left one for induction, the right one for reverse induction. So a model without shift, which
predicts at the mask, is measured by the same tokens as its twin with shift, which predicts one slot to the left.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from probe.models.model import Model
from probe.paradigms.canvas import Canvas

MARKS = ("previous", "next", "same", "duplicate", "induction", "reverse_induction", "offset")

_NONE = -1  # among tokens: there is none, or it is hidden
_NOT_EVEN_ONE = -2  # the token of a query without one: nothing matches it


@dataclass(frozen=True)
class Words:
    """The tokens at and next to every slot (batch × slots); hidden tokens and padding count as none."""

    real: Tensor
    hidden: Tensor
    places: Tensor
    block: Tensor
    tokens: Tensor
    before: Tensor
    after: Tensor
    left: Tensor  # the token whose earlier occurrence induction looks for
    left_place: Tensor
    right: Tensor
    right_place: Tensor

    @classmethod
    def of(cls, model: Model, canvas: Canvas) -> Words:
        real = real_slots(canvas)
        places, block = (part.expand(len(canvas), -1) for part in (canvas.places, canvas.block))
        hidden = hidden_slots(model, canvas) & real
        tokens = canvas.tokens.masked_fill(~real | hidden, _NONE)
        before, after = (_beside(tokens, real, places, block, way) for way in (1, -1))
        of_hidden = hidden if not model.shift else _beside(hidden.long(), real, places, block, -1) == 1
        # The slot that predicts a hidden token at position p is p (no shift) or p - 1 (shift).
        ahead = 1 if model.shift else 0
        beyond = _beside(after, real, places, block, -1) if model.shift else after
        left = torch.where(of_hidden, tokens if model.shift else before, tokens)
        left_place = torch.where(of_hidden, places + ahead - 1, places)
        right, right_place = torch.where(of_hidden, beyond, tokens), torch.where(of_hidden, places + ahead + 1, places)
        return cls(real, hidden, places, block, tokens, before, after, left, left_place, right, right_place)

    def marks(self, queries: slice) -> Tensor:
        """The marks (batch × queries × keys × MARKS) of some of the queries."""
        q = {name: getattr(self, name)[:, queries, None] for name in self.__dataclass_fields__}
        k = {name: getattr(self, name)[:, None] for name in self.__dataclass_fields__}
        together = q["real"] & k["real"]
        distance = (k["places"] - q["places"]) * together
        beside = together & (k["block"] == q["block"])
        slots = torch.arange(self.real.shape[1], device=self.real.device)
        itself = (slots[None, queries, None] == slots) & together
        others = together & ~itself
        earlier = k["places"] - 1 < q["left_place"]
        later = k["places"] + 1 > q["right_place"]
        found = {
            "previous": beside & (distance == -1),
            "next": beside & (distance == 1),
            "same": itself,
            "duplicate": others & (k["tokens"] == _asks(q["tokens"])),
            "induction": others & earlier & (k["before"] == _asks(q["left"])),
            "reverse_induction": others & later & (k["after"] == _asks(q["right"])),
            "offset": distance,
        }
        return torch.stack([found[name].float() for name in MARKS], -1)


def _asks(tokens: Tensor) -> Tensor:
    return tokens.masked_fill(tokens == _NONE, _NOT_EVEN_ONE)


def _beside(values: Tensor, real: Tensor, places: Tensor, block: Tensor, way: int) -> Tensor:
    """The token one slot to the left (way 1) or to the right (way -1), or none at an edge."""
    whole = real & real.roll(way, 1) & (places.roll(way, 1) == places - way) & (block.roll(way, 1) == block)
    whole[:, 0 if way == 1 else -1] = False
    return values.roll(way, 1).masked_fill(~whole, _NONE)


def hidden_slots(model: Model, canvas: Canvas) -> Tensor:
    """Which slots (batch × slots) hold no readable token: masks, and what a flow sees as noise."""
    hidden = torch.zeros_like(canvas.tokens, dtype=torch.bool)
    if model.mask_id is not None:
        hidden = canvas.tokens == model.mask_id
    return hidden if canvas.soft is None else hidden | ~canvas.soft.given


def real_slots(canvas: Canvas) -> Tensor:
    """Which slots (batch × slots) are not padding: padding sees only itself, and only padding sees it."""
    allowed = canvas.allowed.expand(len(canvas), -1, -1)
    company = (allowed.sum(1) > 1) | (allowed.sum(2) > 1)
    alone = ~company.any(1, keepdim=True)
    return (company | alone) & (canvas.block.expand(len(canvas), -1) >= 0)
