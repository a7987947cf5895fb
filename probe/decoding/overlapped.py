"""FLUID's strides where one pass checks a stride and drafts the next.

Each pass has the text followed by the drafts, and a block of masks after the last token of the text and after every
draft (see `probe.decoding.branches`). Its causal part shows which drafts autoregression would have written. After the
last right one it gives a token of its own, and the masks there give the drafts of the next stride:

    pass 1   a b c                  → d                                 drafts e x
    pass 2   a b c d e x            e is right, x is wrong → f in its place, drafts g h
    pass 3   a b c d e f g h        both are right → i, …

So no pass only checks, except the last one if all drafts up to the text's end were right, and every pass writes at
least one token: the text of greedy autoregression in at most as many passes. The cost is slots, at most K² per pass.

At a temperature the same passes sample (speculative sampling). A draft was sampled from q, the masks' distribution; p
is autoregression's at its place. It is accepted with probability min(1, p/q); the first rejected one is sampled again
from the positive part of p - q. Whatever q is, the text then has autoregression's distribution. For that, the number of
drafts must not depend on their tokens: γ is compared with the probability of the best token, not of the sampled one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.decoding.passes import OwnPasses, Run
from probe.decoding.strides import Strides
from probe.decoding.trajectory import Log, StridesTaken, drafts_of, ends_of

if TYPE_CHECKING:
    from probe.decoding.branches import Branched
    from probe.paradigms.horizon import Horizon


class Overlapped:
    """The strides of every row. `front` (batch) is the first place after the final text; it is followed by `drafts`
    (batch) tokens of the current stride, whose first token is the text's last and needs no check."""

    def __init__(self, tokens: Tensor, start: int, mask: int, rule: Strides, head: Horizon | None, run: Run, log: Log):
        assert isinstance(run.passes, OwnPasses)  # others show one text a pass
        self.tokens, self._mask, self._rule, self._head, self._run, self._log = tokens, mask, rule, head, run, log
        self._passes = run.passes
        self._place = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        self._end, self._start = tokens.shape[1], start
        self._ends = torch.full(
            (len(tokens),), self._end, device=tokens.device
        )  # the end of each text, once it has stopped
        self._front = torch.full((len(tokens),), start, device=tokens.device)
        self._drafts = torch.zeros_like(self._front)
        self._predicted = torch.zeros_like(self._front)
        self._draws: _Draws | _Best = _Draws(rule.temperature, run.seed) if rule.temperature else _Best()
        self._steps = 0

    @property
    def busy(self) -> Tensor:
        """Which rows (batch) still have text to write or to check."""
        return self._front < self._ends

    def step(self) -> None:
        """One forward pass: check the drafts, write the token after the last right one, and draft the next ones."""
        busy, state, old = self.busy, self.tokens, (self._front, self._drafts, self._predicted)
        seen = self._passes.branch(state, self._front, self._drafts, self._rule.longest - 1)
        checks = _without(seen.checks(), self._mask)
        right, token = self._draws.checked(self._standing(checks.shape[1] - 1), self._drafts, checks)
        at = self._front + right  # the place of the token that the pass itself writes
        self._end_texts(at, token, busy)
        drafted, sure, count = self._next_stride(seen, right, self._ends - at - 1)
        self._front, self._drafts = (at + 1).minimum(self._ends), count
        written = self._write(at, token, drafted)
        confidence = self._sure(old[0], checks, at, sure)
        # Wrong drafts that are not replaced are masked again.
        reopened = (self._place > at[:, None].minimum(self._ends[:, None] - 1)) & ~written & (state != self._mask)
        self._log.step(state, confidence, written, reopened=reopened, busy=busy)
        self._run.on_step(self._steps, self.tokens, written)
        self._end_strides(busy, state, old, right)
        self._steps += 1

    def _end_texts(self, at: Tensor, token: Tensor, busy: Tensor) -> None:
        """End the texts that now have a final stop token: among the right drafts, or after them."""
        if not self._rule.stop:
            return
        place = self._place
        written = torch.where(place == at[:, None], token[:, None], self.tokens)
        for_good = (place >= self._start) & (place <= at[:, None])
        self._ends = torch.where(busy, ends_of(written, for_good, self._rule.stop), self._ends)
        self._log.close(place >= self._ends[:, None])

    def _standing(self, width: int) -> Tensor:
        """The drafts (batch × width) after the text; arbitrary values if there are fewer."""
        at = self._front[:, None] + torch.arange(width, device=self.tokens.device)
        return self.tokens.gather(1, at.clamp(max=self._end - 1))

    def _next_stride(self, seen: Branched, right: Tensor, room: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Drafts (batch × ahead) of the next stride, their confidences, and how many (batch) of them are used."""
        logits = _without(seen.behind(right), self._mask)
        drafted, sure = self._draws.drafted(logits)
        horizon = torch.full_like(right, self._rule.longest)
        if self._head is not None:
            self._predicted = self._head.stride(seen.anchor(right))
            horizon = self._predicted.clamp(min=self._rule.least, max=self._rule.most)
        surest = (sure > self._rule.gamma).cumprod(1).sum(1)
        return drafted, sure, (horizon - 1).minimum(surest).minimum(room).clamp(min=0)

    def _write(self, at: Tensor, token: Tensor, drafted: Tensor) -> Tensor:
        """Write the token and the drafts after it; returns where (batch × length)."""
        offset = self._place - at[:, None]
        written = (offset >= 0) & (offset <= self._drafts[:, None]) & (self._place < self._ends[:, None])
        both = torch.cat([token[:, None], drafted], 1)
        new = both.gather(1, offset.clamp(min=0, max=both.shape[1] - 1))
        open_again = (offset >= 0) | (self._place >= self._ends[:, None])
        self.tokens = torch.where(written, new, self.tokens.masked_fill(open_again, self._mask))
        return written

    def _sure(self, front: Tensor, checks: Tensor, at: Tensor, sure: Tensor) -> Tensor:
        """The confidence of the pass's best token (batch × length) at the places that it checks, writes and drafts."""
        found = torch.cat([checks.softmax(-1).amax(-1), sure], 1)
        checked, behind = self._place - front[:, None], self._place - at[:, None] - 1
        index = torch.where(behind < 0, checked, checks.shape[1] + behind)
        known = (checked >= 0) & (behind < sure.shape[1])
        return found.gather(1, index.clamp(min=0, max=found.shape[1] - 1)).masked_fill(~known, torch.nan)

    def _end_strides(self, busy: Tensor, state: Tensor, old: tuple[Tensor, Tensor, Tensor], right: Tensor) -> None:
        """Report the strides that were checked, and those that need no check: a single last token."""
        front, drafts, predicted = old
        last = front + right >= self._ends  # all drafts up to the text's end are right: the pass began no stride
        checked = busy & (front > self._start)
        kept = (right + 1).minimum(self._ends - front + 1)
        self._told(checked, state, (front - 1, predicted, drafts + 1, kept, 1 + last.long()))
        ones = torch.ones_like(front)
        alone = busy & ~last & (self._front >= self._ends)
        self._told(alone, self.tokens, (self._front - 1, self._predicted, ones, ones, ones))

    def _told(self, rows: Tensor, tokens: Tensor, columns: tuple[Tensor, ...]) -> None:
        if not rows.any():
            return
        start, predicted, proposed, accepted, passes = (column[rows] for column in columns)
        drafted = drafts_of(tokens[rows], start, proposed, self._rule.longest)
        ended = torch.full_like(start, self._steps)
        taken = StridesTaken(rows.nonzero()[:, 0], start, predicted, proposed, accepted, passes, ended, drafted)
        self._log.stride(taken)
        self._run.on_stride(taken)


class _Best:
    """Without a temperature: a draft is right if it is the best token."""

    def checked(self, drafts: Tensor, count: Tensor, checks: Tensor) -> tuple[Tensor, Tensor]:
        """How many (batch) of the first `count` drafts are right in a row, and the token after them."""
        best = checks.argmax(-1)
        same = (drafts == best[:, :-1]) & (torch.arange(drafts.shape[1], device=drafts.device) < count[:, None])
        right = same.cumprod(1).sum(1)
        return right, best.gather(1, right[:, None])[:, 0]

    def drafted(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (batch × ahead), and the probability of the best one at each place."""
        sure, best = logits.softmax(-1).max(-1)
        return best, sure


class _Draws:
    """At a temperature: drafts are sampled, and accepted so that autoregression's distribution is preserved."""

    def __init__(self, temperature: float, seed: int):
        self._temperature = temperature
        self._generator = torch.Generator().manual_seed(seed)
        self._q: Tensor | None = None  # (batch, ahead, vocabulary), the distributions of the current drafts

    def checked(self, drafts: Tensor, count: Tensor, checks: Tensor) -> tuple[Tensor, Tensor]:
        p = (checks / self._temperature).softmax(-1)
        width = drafts.shape[1]
        q = torch.zeros_like(p) if self._q is None else torch.cat([self._q[:, :width], torch.zeros_like(p[:, :1])], 1)
        standing = torch.arange(width, device=drafts.device) < count[:, None]
        q[:, :width].masked_fill_(~standing[..., None], 0)  # if nothing was drafted, sample from p itself
        of_draft = (part[:, :width].gather(2, drafts[..., None])[..., 0] for part in (p, q))
        mine, theirs = of_draft
        accepted = standing & (self._uniform(mine) * theirs < mine)
        right = accepted.cumprod(1).sum(1)
        left = (p - q).clamp(min=0).gather(1, right[:, None, None].expand(-1, 1, p.shape[2]))[:, 0]
        return right, self._drawn(left.log())

    def drafted(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        scaled = logits / self._temperature
        self._q = scaled.softmax(-1)
        return self._drawn(scaled), logits.softmax(-1).amax(-1)

    def _drawn(self, logits: Tensor) -> Tensor:
        """A sampled token for each place, by the Gumbel trick."""
        return (logits - (-self._uniform(logits).log()).log()).argmax(-1)

    def _uniform(self, like: Tensor) -> Tensor:
        """Sampled on the CPU, so that a GPU gives the same."""
        drawn = torch.rand(like.shape, generator=self._generator).clamp_min(torch.finfo(torch.float32).tiny)
        return drawn.to(like.device)


def _without(logits: Tensor, mask: int) -> Tensor:
    """Logits without the mask token."""
    logits[..., mask] = -torch.inf
    return logits
