"""The canvas of a pass that checks drafts and, in the same pass, drafts the tokens after each of them.

A separate check costs a pass that writes nothing. FLUID's training canvas avoids it: blocks of masks may follow any
token of a text, and neither the text nor other blocks see them. So a pass has the text followed by the drafts, and a
block of masks after the last token of the text and after every draft:

    text  a  b  c | d1       d2       d3           causal: shows which drafts are right
                  ▒▒▒        ▒▒▒      ▒▒▒   ▒▒▒    a block after c, after d1, after d2 and after d3

Whichever draft turns out to be the last right one, the block after it has the drafts of the next stride. The cost is
slots: all blocks but one are discarded.

Keys and values of the text go into the cache at the index of their place; those of the blocks go after all of them,
where the text that is written next will overwrite them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from probe.paradigms.canvas import Canvas


@dataclass(frozen=True)
class Branches:
    """The canvas of such a pass. Blocks are numbered from 0, the one after the final part of the text."""

    canvas: Canvas  # the computed slots: the text's, then the blocks'; `allowed` (batch, shown, keys) is over all keys
    keys: Tensor  # (batch, shown): the cache index of each slot's keys
    span: int  # how many slots are the text's
    high: int  # keys in all
    anchors: Tensor  # (batch, blocks): the slot of the token that each block follows
    masks: Tensor  # (batch, blocks, ahead): the slots of each block's masks; any slot where there is none

    @classmethod
    def of(cls, tokens: Tensor, front: Tensor, drafts: Tensor, ahead: int, begin: Tensor, mask: int) -> Branches:
        """The pass over a state (batch × length) whose text ends before `front` (batch) and is followed by `drafts`
        (batch) drafts; each block has `ahead` masks, fewer at the end of the text. Keys of the places before `begin`
        (batch) are in the cache."""
        text, known = _text_places(front + drafts, begin)
        places, behind, index = _blocks(front, drafts, ahead, tokens.shape[1])
        shown = torch.cat([tokens.gather(1, text), torch.full_like(places, mask)], 1)
        scratch = torch.arange(places.shape[1], device=tokens.device) + known
        block = torch.cat([torch.zeros_like(text), torch.where(behind < 0, -1, behind + 1)], 1)
        stand = torch.cat([torch.arange(known, device=tokens.device).expand(len(text), -1), places], 1)
        allowed, shown_places = _allowed(text, places, behind, known), torch.cat([text, places], 1)
        canvas = Canvas(shown, allowed, shown_places, block, key_places=stand)
        number = torch.arange(index.shape[1], device=tokens.device)
        anchors = (front[:, None] - 1 + number - text[:, :1]).clamp(max=text.shape[1] - 1)
        keys = torch.cat([text, scratch.expand(len(text), -1)], 1)
        masks = (text.shape[1] + index).clamp(max=shown.shape[1] - 1)
        return cls(canvas, keys, text.shape[1], known + places.shape[1], anchors, masks)


def _text_places(end: Tensor, begin: Tensor) -> tuple[Tensor, int]:
    """The computed places of the text (batch × span), and how many have keys afterwards: in each row at least from
    `begin` to `end`. Rows that need fewer compute more, which changes nothing."""
    known, span = int(end.max()), int((end - begin).max())
    first = begin.clamp(max=known - span)
    return first[:, None] + torch.arange(span, device=end.device), known


def _blocks(front: Tensor, drafts: Tensor, ahead: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """For every mask its place and the place that its block follows (batch × masks; rows with fewer are padded with
    -1), and the indices of each block's masks (batch × blocks × ahead)."""
    batch, number = len(front), torch.arange(int(drafts.max()) + 1, device=front.device)
    offset = torch.arange(1, ahead + 1, device=front.device)
    anchor = (front[:, None] - 1 + number)[..., None].expand(-1, -1, ahead)
    place = anchor + offset
    # The mask at a place predicts the token of the next place.
    wanted = (number <= drafts[:, None])[..., None] & (place < length - 1)
    flat = wanted.reshape(batch, -1)
    width = int(flat.sum(1).max())
    first = (~flat).long().argsort(dim=1, stable=True)[:, :width]
    real = flat.gather(1, first)
    places = place.reshape(batch, -1).gather(1, first).where(real, 0)
    behind = anchor.reshape(batch, -1).gather(1, first).where(real, -1)
    index = (flat.cumsum(1) - 1).clamp(min=0).view_as(wanted)
    return places, behind, index


def _allowed(text: Tensor, places: Tensor, behind: Tensor, known: int) -> Tensor:
    """Visibility (batch, shown, known + masks): the text is causal; a mask sees the text up to its anchor and its own
    block up to itself."""
    key = torch.arange(known, device=text.device)
    last = torch.cat([text, behind], 1)  # the last place of the text that a slot sees
    sees_text = key <= last[..., None]
    same = (behind[:, :, None] == behind[:, None, :]) & (behind >= 0)[:, None, :]
    own_block = same & (places[:, None, :] <= places[:, :, None])
    itself = torch.eye(places.shape[1], dtype=torch.bool, device=text.device)
    of_text = own_block.new_zeros(len(text), text.shape[1], places.shape[1])
    return torch.cat([sees_text, torch.cat([of_text, own_block | itself], 1)], 2)


@dataclass(frozen=True)
class Branched:
    """The result of one such pass. Logits are computed only for the slots needed: one block per row."""

    shown: Branches
    _hidden: Tensor  # (batch, shown, d), the final norm's output
    _unembed: Callable[[Tensor], Tensor]

    def checks(self) -> Tensor:
        """Logits (batch, blocks, vocabulary) of the token after the text, and of the one after each draft."""
        return self._unembed(_at(self._hidden, self.shown.anchors)).float()

    def behind(self, block: Tensor) -> Tensor:
        """Logits (batch, ahead, vocabulary) at the masks of each row's `block` (batch)."""
        slots = self.shown.masks.gather(1, block[:, None, None].expand(-1, 1, self.shown.masks.shape[2]))[:, 0]
        return self._unembed(_at(self._hidden, slots)).float()

    def anchor(self, block: Tensor) -> Tensor:
        """The hidden state (batch, d) of the token that each row's `block` follows."""
        return _at(self._hidden, self.shown.anchors.gather(1, block[:, None]))[:, 0]


def _at(values: Tensor, slots: Tensor) -> Tensor:
    return values.gather(1, slots[..., None].expand(-1, -1, values.shape[2]))
