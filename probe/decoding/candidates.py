"""What else would have been written: the best tokens of every slot at every pass of a run."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Candidates:
    """Of each forward pass: the best tokens of every slot (batch × slots × k) and their probabilities; slots that no
    shown one answers for are left out at the end."""

    tokens: list[Tensor]
    shares: list[Tensor]

    def of(self, example: int) -> list[list[list[tuple[int, float]]]]:
        """Of one example: step → slot → (token, probability), the best first."""
        return [
            [list(zip(*slot, strict=True)) for slot in zip(ids[example].tolist(), of[example].tolist(), strict=True)]
            for ids, of in zip(self.tokens, self.shares, strict=True)
        ]
