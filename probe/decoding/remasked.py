"""Masked diffusion with revision: at each step some positions are written, and some written ones are masked again.

The steps are those of `probe.paradigms.remasking`, and every position is drawn independently. A pass is made only if
the state has changed since the last one. When all steps are done, remaining masks take their best tokens in one more
pass.

A stop token may itself be remasked, so it ends the text only at the end, and saves no pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.decoding.passes import Run
from probe.decoding.question import Question
from probe.decoding.trajectory import Log, Trajectory
from probe.errors import ProbeError
from probe.paradigms.remasking import Remasking
from probe.paradigms.sampler import Sampler, choose, shares_of, trimmed

if TYPE_CHECKING:
    from probe.models.model import Model


def revise(model: Model, tokens: Tensor, rule: Sampler, run: Run, asked: Question) -> Trajectory:
    """From masks to text, with remasking, in the sampler's steps."""
    assert rule.remask is not None
    _refuse_blocks(model)
    mask, log = model.paradigm.given_mask(), Log(tokens, asked.open)
    draws = _Draws(rule, rule.remask, run.seed, asked)
    busy, number = asked.open.any(1), 0
    while not draws.done or (tokens == mask).any():
        at, logits = asked.logits(run, tokens, torch.zeros_like(asked.place[:, :1]))
        state = tokens
        chosen, written, back = draws.next(logits, state.gather(1, at) == mask)
        best = shares_of(logits, chosen)[1]
        nowhere = torch.zeros_like(asked.open)
        wrote, withdrawn = nowhere.scatter(1, at, written), nowhere.scatter(1, at, back)
        tokens = torch.where(wrote, tokens.scatter(1, at, chosen), tokens).masked_fill(withdrawn, mask)
        sure = torch.full(state.shape, torch.nan, device=state.device).scatter(1, at, best)
        log.step(state, sure, wrote, reopened=withdrawn, busy=busy)
        run.on_step(number, tokens, wrote)
        busy, number = (wrote | withdrawn).any(1), number + 1
    return log.finish(tokens, str(rule), run.seed, run.passes.slots, stop=rule.stop)


class _Draws:
    """The changes at each step, over the positions (batch × width) of a pass."""

    def __init__(self, rule: Sampler, remask: Remasking, seed: int, asked: Question):
        self._rule, self._remask = rule, remask
        self._generator = torch.Generator().manual_seed(seed)
        self._mine = asked.open[:, asked.start :]
        self._steps = rule.steps or asked.width
        self._step = 0
        # The probability of a token when it was written; infinite where there is none.
        self._sure = torch.full(self._mine.shape, torch.inf, device=self._mine.device)

    @property
    def done(self) -> bool:
        return self._step >= self._steps

    def next(self, logits: Tensor, is_open: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, where they are written, and where others are remasked, at the next step with a change."""
        if self.done:
            return logits.argmax(-1), is_open, torch.zeros_like(is_open)
        left = trimmed(logits, self._rule)
        shares = (left / (self._rule.temperature or 1.0)).softmax(-1)
        while True:
            chosen = choose(left, self._rule.temperature, self._generator)
            written, back = self._decided(is_open)
            self._step += 1
            if self.done or bool((written | back).any()):
                break
        self._sure = torch.where(written, shares.gather(-1, chosen[..., None])[..., 0], self._sure)
        self._sure = self._sure.masked_fill(back, torch.inf)
        return chosen, written, back

    def _decided(self, is_open: Tensor) -> tuple[Tensor, Tensor]:
        odds = self._remask.at(self._step, self._steps)
        drawn = torch.rand(is_open.shape, generator=self._generator).to(is_open.device)
        back = torch.full_like(drawn, odds.take_back)
        if self._remask.kind == "conf":
            back = back * (-self._sure).softmax(-1).nan_to_num(0)
        return is_open & (drawn < odds.write), self._mine & ~is_open & (drawn < back)


def _refuse_blocks(model: Model) -> None:
    if model.paradigm.block_size is not None:
        raise ProbeError(
            f"remasking with model {model.name!r}",
            expected="a masked model, whose whole text can be revised",
            found=f"one that writes in blocks of {model.paradigm.block_size}, which are final once they are full",
            remedy="Leave it out.",
        )
