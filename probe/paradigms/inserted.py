"""Blocks of masks inserted after anchors of a text: the canvas for training FLUID and its horizon head.

After an anchor at place i come k copies, o = 1..k, with position i+o; copy o predicts the text's token i+o+1. Main
tokens see main tokens only, causally; a copy sees the main tokens up to its anchor and the copies of its own block up
to itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from probe.paradigms.canvas import Canvas

LONGEST_BLOCK = 16
ANCHOR_RATE = 0.5  # the number of blocks per text token


def insert(tokens: Tensor, anchors: Tensor, lengths: Tensor, mask_id: int) -> Canvas:
    """The text followed by its inserted blocks: `lengths` masks after every token where `anchors` is True.

    Slots of examples with fewer inserted tokens than the fullest one are padding: block -1, seen by nobody.
    `block` is 0 on the text and 1 + the anchor's place on an inserted token.
    """
    batch, length = tokens.shape
    counts = torch.where(anchors, lengths, 0)
    width = int(counts.sum(1).max()) if batch else 0
    # One row per inserted token of the whole batch: its anchor, and its number in the block.
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
