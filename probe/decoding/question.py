"""What a masked or block model is asked while it writes: which places, in which blocks, and with which logits.

A block model is asked for its current block alone: nothing in it depends on the blocks behind. Any other model is asked
for the whole answer. Rows of a batch may be in different blocks; each is asked for its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.decoding.passes import Run
from probe.paradigms.sampler import Sampler, allowed

if TYPE_CHECKING:
    from probe.models.model import Model


@dataclass(frozen=True)
class Question:
    """What a run is asked for: where, and in which blocks. All are (batch × length)."""

    model: Model
    rule: Sampler
    open: Tensor  # where a token is wanted, in the beginning
    place: Tensor
    stretch: Tensor  # the number of what is asked for together
    block: Tensor  # the number of what is written together
    start: int  # no open place stands before it
    width: int  # places that a pass is asked for

    @classmethod
    def of(cls, model: Model, tokens: Tensor, rule: Sampler) -> Question:
        is_open = tokens == model.paradigm.given_mask()
        start, end = int(is_open.any(0).nonzero()[0, 0]), tokens.shape[1]
        place = torch.arange(end, device=tokens.device).expand_as(tokens)
        size = model.paradigm.block_size
        block = _blocks(size, rule, place, start)
        if rule.cache:
            return cls(model, rule, is_open, place, block, block, start, min(rule.block or end - start, end - start))
        stretch = place // size if size else torch.zeros_like(place)
        return cls(model, rule, is_open, place, stretch, block, start, min(size or end - start, end - start))

    def now(self, still_open: Tensor) -> tuple[Tensor, Tensor]:
        """The stretch that each row is in, and its block (both batch × 1). Where what is kept holds for one block, rows
        that are through with theirs wait for the others."""
        stretch, block = first_of(self.stretch, still_open), first_of(self.block, still_open)
        if self.rule.cache:
            block = block.amin(0, keepdim=True).expand_as(block)
            return block, block
        return stretch, block

    @property
    def blocks(self) -> int:
        """The number of blocks that have an open place."""
        return len(self.block[self.open].unique())

    def logits(self, run: Run, tokens: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
        """The places (batch × width) that a pass is asked for in its current stretch (batch × 1), and their logits,
        in which only what may be written has a chance."""
        mask, end = self.model.paradigm.given_mask(), tokens.shape[1]
        if self.rule.cache:
            begin = self.start + current * self.width
        else:
            begin = current * (self.model.paradigm.block_size or 0)
        begin = begin.clamp(min=self.start, max=end - self.width)
        at = begin + torch.arange(self.width, device=tokens.device)
        from_slot = (begin[:, 0] - int(self.model.shift)).clamp(min=0)
        if self.rule.guidance:
            without = tokens.masked_fill(~self.open, mask)
            logits = guided(*run.passes.beside(tokens, without, from_slot, self.width), self.rule.guidance)
        else:
            logits = run.passes(tokens, from_slot, self.width).logits
        logits[..., mask] = -torch.inf  # a mask is never an answer
        return at, allowed(logits, self.rule)


def guided(logits: Tensor, without: Tensor, guidance: float) -> Tensor:
    """Logits with the prompt, moved away from those without it."""
    return without + (guidance + 1) * (logits - without)


def first_of(number: Tensor, still_open: Tensor) -> Tensor:
    """The number (batch × 1) of the first stretch or block that has an open place; of none, the last."""
    return number.masked_fill(~still_open, number.max()).amin(1, keepdim=True)


def _blocks(size: int | None, rule: Sampler, place: Tensor, start: int) -> Tensor:
    """The number of the block that each place is written in; blocks are written in order.

    A sampler's blocks are parts of the model's own blocks, where it has them, and else of the answer.
    """
    if size is None:
        return (place - start).clamp(min=0) // rule.block if rule.block else torch.zeros_like(place)
    part = min(rule.block or size, size)
    return place // size * -(-size // part) + place % size // part
