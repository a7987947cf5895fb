"""FLUID: diffusion under strictly causal attention, by inserting blocks of masks behind anchors of the AR text.

No attention is ever opened. Behind an anchor at place i stand k inserted tokens, copies o = 1..k with position i+o;
copy o answers for the text's token i+o+1, so the AR shift holds everywhere. Main tokens see main tokens only, causally;
an inserted token sees the main tokens up to its anchor and the copies of its own block up to itself. Hence a main
token's logits are those of the AR model whatever is inserted, and a block's do not change with other blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from probe.paradigms.canvas import Canvas
from probe.paradigms.paradigm import NO_LABEL, Lesson, Paradigm, labels_read_at

LONGEST_BLOCK = 16
ANCHOR_RATE = 0.5
RANDOM_RATE = 0.1  # of the restored tokens, how many are replaced by a random one


@dataclass(frozen=True)
class Fluid(Paradigm):
    """Strictly causal diffusion with inserted mask blocks of up to `longest` tokens."""

    name: ClassVar[str] = "fluid"

    longest: int = LONGEST_BLOCK

    def lesson(self, tokens: Tensor, generator: torch.Generator) -> Lesson:
        draw = {"generator": generator, "device": tokens.device}
        anchors = torch.rand(tokens.shape, **draw) < ANCHOR_RATE
        lengths = torch.randint(1, self.longest + 1, tokens.shape, **draw)
        # Copies past the end of the text would answer for nothing, and none that answers sees them: they are left out.
        to_the_end = tokens.shape[1] - 2 - torch.arange(tokens.shape[1], device=tokens.device)
        blank = insert(tokens, anchors, lengths.minimum(to_the_end.clamp(min=0)), self.given_mask())
        inserted = blank.block > 0
        # Label of a slot: the text's token after the slot's place.
        after = labels_read_at(tokens, torch.ones_like(tokens, dtype=torch.bool), shift=True)
        labels = after.gather(1, blank.places).masked_fill(blank.block < 0, NO_LABEL)
        # Restoration noise: one rate an anchor; a restored copy shows the true token of its place, or now and then a
        # wrong one.
        rate = torch.rand(tokens.shape, **draw).gather(1, (blank.block - 1).clamp(min=0))
        restored = inserted & (torch.rand(inserted.shape, **draw) < rate)
        wrong = torch.rand(inserted.shape, **draw) < RANDOM_RATE
        # Ordinary tokens are those of the texts at hand: a vocabulary also holds the mask and other special ones.
        ordinary = tokens.flatten()[torch.randint(0, tokens.numel(), inserted.shape, **draw)]
        shown = torch.where(wrong, ordinary, tokens.gather(1, blank.places))
        canvas = Canvas(torch.where(restored, shown, blank.tokens), blank.allowed, blank.places, blank.block)
        return Lesson(canvas, labels, torch.ones_like(labels, dtype=torch.float32))


def insert(tokens: Tensor, anchors: Tensor, lengths: Tensor, mask_id: int) -> Canvas:
    """The text followed by its inserted blocks: `lengths` masks behind every token where `anchors` is True.

    Slots of examples with fewer inserted tokens than the fullest one are padding: block -1, seen by nobody.
    `block` is 0 on the text and 1 + the anchor's place on an inserted token.
    """
    batch, length = tokens.shape
    counts = torch.where(anchors, lengths, 0)
    width = int(counts.sum(1).max()) if batch else 0
    # One row per inserted token of the whole batch: the text token it stands behind, and its number in the block.
    behind = torch.repeat_interleave(torch.arange(batch * length, device=tokens.device), counts.flatten())
    starts = counts.flatten().cumsum(0) - counts.flatten()
    offset = torch.arange(len(behind), device=tokens.device) - starts[behind] + 1
    example, anchor = behind // length, behind % length
    column = torch.arange(len(behind), device=tokens.device) - starts.view(batch, length)[:, 0][example]

    def spread(values: Tensor, fill: int) -> Tensor:
        return torch.full((batch, width), fill, device=tokens.device).index_put_((example, column), values)

    main = torch.arange(length, device=tokens.device).expand(batch, length)
    places = torch.cat([main, spread(anchor + offset, 0)], dim=1)
    block = torch.cat([torch.zeros_like(main), spread(anchor + 1, -1)], dim=1)
    shown = torch.cat([tokens, torch.full((batch, width), mask_id, device=tokens.device)], dim=1)
    return Canvas(shown, _allowed(places, block), places, block)


def _allowed(places: Tensor, block: Tensor) -> Tensor:
    query_place, key_place = places[:, :, None], places[:, None, :]
    query_block, key_block = block[:, :, None], block[:, None, :]
    key_is_main = key_block == 0
    main_sees = (query_block == 0) & key_is_main & (key_place <= query_place)
    block_sees_main = (query_block > 0) & key_is_main & (key_place < query_block)  # block = 1 + the anchor's place
    block_sees_itself = (query_block > 0) & (key_block == query_block) & (key_place <= query_place)
    itself = torch.eye(places.shape[1], dtype=torch.bool, device=places.device)
    return main_sees | block_sees_main | block_sees_itself | itself
