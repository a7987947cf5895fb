"""A trajectory: one decoding run, whole, whatever paradigm wrote it.

`states[:, s]` is what the model saw at its s-th forward pass, so a trajectory can be replayed, recorded and asked
questions without decoding again; `tokens` is what stood there in the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

UNWRITTEN = -1  # in `states`: a place that an autoregressive run had not reached yet
GIVEN = -1  # in `committed_at`: a place that stood there from the beginning


@dataclass(frozen=True)
class Trajectory:
    """Prompt and answer, with every state on the way. With a prompt of rank 1 the batch axis is absent throughout."""

    tokens: Tensor  # (batch, position)
    states: Tensor  # (batch, step, position), token ids or UNWRITTEN
    committed_at: Tensor  # (batch, position), the step that wrote it, or GIVEN
    confidence: Tensor  # (batch, step, position), probability of the best token where one was open, else NaN
    forward_passes: int
    sampler: str = ""
    seed: int = 0

    def __len__(self) -> int:
        """The number of steps."""
        return self.states.shape[-2]

    @property
    def tokens_per_forward(self) -> float:
        """Tokens written per forward pass, the average over the batch."""
        written = (self.committed_at != GIVEN).float().sum(-1).mean().item()
        return written / self.forward_passes

    def without_batch(self) -> Trajectory:
        """The run of the one example, of the prompt's rank."""
        return Trajectory(
            self.tokens[0],
            self.states[0],
            self.committed_at[0],
            self.confidence[0],
            self.forward_passes,
            self.sampler,
            self.seed,
        )


class Log:
    """Collects the steps of a run as they happen."""

    def __init__(self, tokens: Tensor, open_places: Tensor):
        self.committed_at = torch.full_like(tokens, GIVEN)
        self._open = open_places.clone()
        self._states: list[Tensor] = []
        self._confidence: list[Tensor] = []

    def step(self, state: Tensor, confidence: Tensor, written: Tensor, reopened: Tensor | None = None) -> None:
        """One forward pass: what was seen, how sure it was at the open places, where it wrote (boolean), and what it
        took back."""
        self._states.append(state.clone())
        self._confidence.append(confidence.float().masked_fill(~self._open, torch.nan))
        self.committed_at[written] = len(self._states) - 1
        self._open &= ~written
        if reopened is not None:
            self._open |= reopened

    def finish(self, tokens: Tensor, sampler: str, seed: int) -> Trajectory:
        states, confidence = torch.stack(self._states, 1), torch.stack(self._confidence, 1)
        return Trajectory(tokens, states, self.committed_at, confidence, len(self._states), sampler, seed)
