"""The state of each slot in a run: masked, written by the pass before, written by an earlier one, or given.

A pass has only the current text. Which of its tokens were given and which the model wrote follows from the passes
before: a slot that was masked (or, in an autoregressive run, not yet there) in the first pass and is not masked now was
written, and just written if it was still masked in the last pass. Examples that run separately are tracked separately.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class _Seen:
    """For the same examples, which slots were masked: in the first pass, in the one before, and in this one."""

    first: Tensor
    before: Tensor
    now: Tensor


class SlotStates:
    """Follows the passes of one edit context."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int] | None, _Seen] = {}
        self._rows: tuple[int, int] | None = None

    def see(self, tokens: Tensor, mask: int | None, rows: slice | None) -> None:
        """Called before each pass, with its text."""
        self._rows = None if rows is None else (rows.start, rows.stop)
        now = torch.zeros_like(tokens, dtype=torch.bool) if mask is None else tokens == mask
        known = self._seen.get(self._rows)
        if known is None or len(known.now) != len(now) or known.now.shape[1] > now.shape[1]:
            self._seen[self._rows] = _Seen(now, now, now)  # another run has begun
            return
        longer = (0, now.shape[1] - known.now.shape[1])  # a slot not yet there counts as masked
        self._seen[self._rows] = _Seen(pad(known.first, longer, value=True), pad(known.now, longer, value=True), now)

    def of(self, state: str) -> Tensor:
        """Which slots (example × slot) are in a state in the current pass."""
        seen = self._seen[self._rows]
        if state == "masked":
            return seen.now
        if state == "given":
            return ~seen.first & ~seen.now
        written = seen.first & ~seen.now
        return written & seen.before if state == "just written" else written
