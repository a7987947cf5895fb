"""Candidates: the most likely tokens of every slot at every pass of a run."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Candidates:
    """For each forward pass: the most likely tokens of every slot (batch × slots × k) and their probabilities; slots at
    the end that no computed slot predicts are left out."""

    tokens: list[Tensor]
    shares: list[Tensor]

    def of(self, example: int) -> list[list[list[tuple[int, float]]]]:
        """For one example: step → slot → (token, probability), the best first."""
        return [
            [list(zip(*slot, strict=True)) for slot in zip(ids[example].tolist(), of[example].tolist(), strict=True)]
            for ids, of in zip(self.tokens, self.shares, strict=True)
        ]
