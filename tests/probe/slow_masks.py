"""Who sees whom, spelt out one pair of tokens at a time: what the vectorised masks are held against."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Sees = Callable[[list[int], int, int], bool]


def _causal(_tokens: list[int], query: int, key: int) -> bool:
    return key <= query


def _full(_tokens: list[int], _query: int, _key: int) -> bool:
    return True


def _blocks_of(size: int) -> Sees:
    def sees(_tokens: list[int], query: int, key: int) -> bool:
        first_after_my_block = 0
        while first_after_my_block <= query:
            first_after_my_block += size
        return key < first_after_my_block

    return sees


def _masks_last(mask_id: int) -> Sees:
    def sees(tokens: list[int], query: int, key: int) -> bool:
        moved = [i for i, token in enumerate(tokens) if token != mask_id]
        moved += [i for i, token in enumerate(tokens) if token == mask_id]
        return moved.index(key) <= moved.index(query)

    return sees


def slow_visible(kind: str, tokens: Tensor, mask_id: int) -> Tensor:
    """(batch, queries, keys) of one of: causal, full, block:N, masks_last."""
    simple = {"causal": _causal, "full": _full, "masks_last": _masks_last(mask_id)}
    sees = simple[kind] if kind in simple else _blocks_of(int(kind.split(":")[1]))
    slots = range(tokens.shape[1])
    return torch.tensor([[[sees(row, query, key) for key in slots] for query in slots] for row in tokens.tolist()])


def slow_insert(
    tokens: Tensor, anchors: Tensor, lengths: Tensor, mask_id: int
) -> list[tuple[list[int], list[int], list[list[bool]]]]:
    """FLUID's canvas of each example: tokens, position ids, and who sees whom. Without padding."""
    canvases = []
    for row, is_anchor, how_many in zip(tokens.tolist(), anchors.tolist(), lengths.tolist(), strict=True):
        slots = [("main", place, 0) for place in range(len(row))]
        for place in range(len(row)):
            if is_anchor[place]:
                slots += [("copy", place, offset) for offset in range(1, how_many[place] + 1)]
        shown = [row[place] if kind == "main" else mask_id for kind, place, _ in slots]
        places = [place + offset for _, place, offset in slots]
        sees = [[_inserted_sees(query, key) for key in slots] for query in slots]
        canvases.append((shown, places, sees))
    return canvases


def _inserted_sees(query: tuple[str, int, int], key: tuple[str, int, int]) -> bool:
    kind, anchor, offset = query
    other_kind, other_anchor, other_offset = key
    if kind == "main":
        return other_kind == "main" and other_anchor <= anchor
    if other_kind == "main":
        return other_anchor <= anchor
    return other_anchor == anchor and other_offset <= offset
