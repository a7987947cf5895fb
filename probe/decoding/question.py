"""Which positions a masked or block model predicts while it writes, in which blocks, and with which logits.

A block model predicts only its current block, which does not depend on later blocks. Any other model predicts the whole
answer. Rows of a batch may be in different blocks; each predicts its own.
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
    """The positions to write in a run, and their blocks. All are (batch × length)."""

    model: Model
    rule: Sampler
    open: Tensor  # the positions to write, at the beginning
    place: Tensor
    stretch: Tensor  # the index of the stretch that is predicted together
    block: Tensor  # the index of the block that is written together
    start: int  # no masked position is before it
    width: int  # positions per pass

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
        """The current stretch of each row, and its block (both batch × 1). If the cache is for one block, rows that
        have finished theirs wait for the others."""
        stretch, block = first_of(self.stretch, still_open), first_of(self.block, still_open)
        if self.rule.cache:
            block = block.amin(0, keepdim=True).expand_as(block)
            return block, block
        return stretch, block

    @property
    def blocks(self) -> int:
        """The number of blocks with a masked position."""
        return len(self.block[self.open].unique())

    def logits(self, run: Run, tokens: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
        """The positions (batch × width) of a pass in its current stretch (batch × 1), and their logits, with only the
        tokens that may be written."""
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
    """Logits with the prompt, extrapolated away from those without it."""
    return without + (guidance + 1) * (logits - without)


def first_of(number: Tensor, still_open: Tensor) -> Tensor:
    """The index (batch × 1) of the first stretch or block with a masked position; without one, the last."""
    return number.masked_fill(~still_open, number.max()).amin(1, keepdim=True)


def _blocks(size: int | None, rule: Sampler, place: Tensor, start: int) -> Tensor:
    """The number of the block that each place is written in; blocks are written in order.

    A sampler's blocks divide the model's own blocks, if it has them, or else the answer.
    """
    if size is None:
        return (place - start).clamp(min=0) // rule.block if rule.block else torch.zeros_like(place)
    part = min(rule.block or size, size)
    return place // size * -(-size // part) + place % size // part
