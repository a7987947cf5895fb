"""Canvas: a backbone's input. Its tokens, their positions in the text, and which tokens each one sees.

For most paradigms the canvas is the text itself. Two need more slots than the text has tokens: FLUID inserts blocks of
masks after its anchors, and block diffusion trains on a noisy copy and the clean text. In both a slot's *place* (its
position id, its logical position in the text) is not its index, so a canvas has both, and everything downstream
(readings, traces, charts) uses places. `soft` replaces the tokens for a flow.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from probe.paradigms.soft import Soft


@dataclass(frozen=True)
class Canvas:
    """One batch as the backbone gets it. `block` is 0 on the text itself and n on the n-th inserted block or copy."""

    tokens: Tensor  # (batch, slots), token ids
    allowed: Tensor  # (batch or 1, slots, slots), True where a query may attend to a key
    places: Tensor  # (batch or 1, slots), position ids
    block: Tensor  # (batch or 1, slots)
    soft: Soft | None = None  # a flow's noise and times
    key_places: Tensor | None = (
        None  # (batch or 1, keys), the places of keys if there are more of them than slots (with a cache)
    )

    def __len__(self) -> int:
        return self.tokens.shape[0]

    @property
    def slots(self) -> int:
        return self.tokens.shape[1]

    def __getitem__(self, rows: slice | Tensor) -> Canvas:
        """Some of the examples; tensors shared by all of them (first axis of length 1) stay shared."""

        def pick(part: Tensor) -> Tensor:
            return part if part.shape[0] == 1 and len(self) != 1 else part[rows]

        soft = None if self.soft is None else self.soft.map(pick)
        keys = None if self.key_places is None else pick(self.key_places)
        return Canvas(self.tokens[rows], pick(self.allowed), pick(self.places), pick(self.block), soft, keys)

    def to(self, device: torch.device | str) -> Canvas:
        soft = None if self.soft is None else self.soft.map(lambda part: part.to(device))
        tokens, allowed, places, block = (
            part.to(device) for part in (self.tokens, self.allowed, self.places, self.block)
        )
        keys = None if self.key_places is None else self.key_places.to(device)
        return Canvas(tokens, allowed, places, block, soft, keys)


def places_of(tokens: Tensor, padding: Tensor | None = None) -> Tensor:
    """Position ids that count real tokens only, so that padding on the left has no effect."""
    if padding is None:
        return torch.arange(tokens.shape[1], device=tokens.device)[None]
    return ((~padding).long().cumsum(dim=1) - 1).clamp(min=0)
