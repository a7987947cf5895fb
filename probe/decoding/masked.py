"""Masked and block diffusion: masked positions are predicted together, and the sampler chooses which are written.

Nothing is written after the end of a text that has stopped (`Sampler.stop`); masks before its end are still filled,
those after it stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.decoding.by_sampler import BySampler
from probe.decoding.passes import Run
from probe.decoding.question import Question
from probe.decoding.remasked import revise
from probe.decoding.trajectory import Log, Trajectory, ends_of
from probe.decoding.writer import writes
from probe.errors import ProbeError
from probe.paradigms import Block, Masked
from probe.paradigms.sampler import (
    Sampler,
    choose,
    drawn_order,
    first,
    order_scores,
    share_at,
    shares_of,
    trimmed,
    within_bound,
)

if TYPE_CHECKING:
    from probe.models.model import Model


@writes(Masked, Block)
class Unmasking(BySampler):
    """From all masks to text."""

    def write(self, model: Model, prompt: Tensor, length: int, rule: Sampler, run: Run) -> Trajectory:
        model.refuse_mask_in(prompt)
        mask = model.paradigm.given_mask()
        masks = prompt.new_full((len(prompt), length), mask)
        return unmask(model, torch.cat([prompt, masks], 1), rule, run)

    def fill(self, model: Model, tokens: Tensor, rule: Sampler, run: Run) -> Trajectory:
        return unmask(model, tokens, rule, run)


def unmask(model: Model, tokens: Tensor, rule: Sampler, run: Run) -> Trajectory:
    """From masks to text, wherever they are, in the sampler's order, until no mask is left."""
    generator = torch.Generator().manual_seed(run.seed)
    asked = Question.of(model, tokens, rule)
    if rule.remask is not None:
        return revise(model, tokens, rule, run, asked)
    still_open, place = asked.open, asked.place
    counts = _Counts(rule, asked)
    log = Log(tokens, asked.open)
    step = 0
    while still_open.any():
        current, block = asked.now(still_open)
        at, logits = asked.logits(run, tokens, current)
        chosen = choose(trimmed(logits, rule), rule.temperature, generator)
        eligible = still_open & (asked.block == block)
        drawn, best = shares_of(logits, chosen)
        counts.look(eligible, still_open, block, step)
        now = _written(rule, logits, drawn, eligible.gather(1, at), counts, generator)
        state, written = tokens, torch.zeros_like(still_open).scatter(1, at, now)
        tokens = torch.where(written, tokens.scatter(1, at, chosen), tokens)
        sure = torch.full(place.shape, torch.nan, device=place.device).scatter(1, at, best)
        busy = eligible.any(1)
        log.step(state, sure.masked_fill(asked.stretch != current, torch.nan), written, busy=busy)
        run.on_step(step, tokens, written)
        still_open = still_open & ~written
        if rule.stop:
            beyond = place >= ends_of(tokens, asked.open, rule.stop)[:, None]
            log.close(beyond)
            still_open = still_open & ~beyond
        step += 1
    return log.finish(tokens, str(rule), run.seed, run.passes.slots, stop=rule.stop)


class _Counts:
    """How many positions the sampler's schedule writes at each step. A row's block is its current one."""

    def __init__(self, rule: Sampler, asked: Question):
        self._rule = rule
        self._steps = rule.steps or asked.place.shape[1] - asked.start
        self._in_block = self._steps if rule.schedule != "llada" else _steps_of_each(self._steps, asked.blocks)
        self._current = torch.full_like(asked.place[:, :1], -1)
        self._total = self._passed = torch.zeros_like(asked.place[:, 0])
        self._here = self._in_all = self._total
        self._step = 0

    def look(self, eligible: Tensor, still_open: Tensor, current: Tensor, step: int) -> None:
        """The masked positions before a step, in all and in each row's `current` block."""
        self._here, self._in_all, self._step = eligible.sum(1), still_open.sum(1), step
        entered = (current != self._current)[:, 0]
        self._total = torch.where(entered, self._here, self._total)
        self._passed = torch.where(entered, 0, self._passed + 1)
        self._current = current

    @property
    def share(self) -> Tensor | None:
        """The share (batch) of the positions in its block that random order writes, each independently; None if it must
        write an exact number."""
        if self._rule.schedule == "llada":
            return None
        if self._rule.schedule == "dream":
            return torch.full(self._here.shape, share_at(self._step, self._steps), device=self._here.device)
        return 1 / self._steps_here

    @property
    def count(self) -> Tensor:
        """How many positions (batch) are written."""
        if self._rule.schedule == "dream":
            return (self._here * share_at(self._step, self._steps)).floor().long()
        if self._rule.schedule == "llada":
            each, rest = self._total // self._in_block, self._total % self._in_block
            return each + (self._passed < rest).long()
        return (self._here / self._steps_here).ceil().long()

    @property
    def _steps_here(self) -> Tensor:
        """The steps of the current block (batch): its share of those left by masked positions, and at least one."""
        steps_left, later = max(self._steps - self._step, 1), self._in_all - self._here
        for_later = (steps_left * later / self._in_all.clamp(min=1)).round().long().maximum((later > 0).long())
        return (steps_left - for_later).clamp(min=1)


def _steps_of_each(steps: int, blocks: int) -> int:
    """The steps of each block, equal for all in LLaDA's schedule."""
    if steps % blocks:
        raise ProbeError(
            f"{steps} steps by LLaDA's schedule",
            expected=f"the same number for each of the {blocks} blocks",
            found=f"{steps / blocks:.2f} for each",
            remedy=f"Use a multiple of {blocks}, or schedule 'even', which divides any number.",
        )
    return steps // blocks


def _written(
    rule: Sampler,
    logits: Tensor,
    drawn: Tensor,
    eligible: Tensor,
    counts: _Counts,
    generator: torch.Generator,
) -> Tensor:
    """Which of the eligible positions are written now.

    Confidence and threshold look at the probability of the token that was `drawn` (batch × places), as published
    samplers do. Without a temperature that is the best token's; with one, a position with a confident best token may
    have sampled another one, and would otherwise be written first with an unlikely token.
    """
    if rule.entropy_bound is not None:
        return within_bound(logits, eligible, rule.entropy_bound)
    if rule.order == "random" and rule.threshold is None and (share := counts.share) is not None:
        reveal = torch.rand(eligible.shape, generator=generator).to(eligible.device)
        return eligible & (reveal < share[:, None])
    scores = drawn if rule.order == "confidence" else order_scores(rule.order, logits, generator)
    scores = drawn_order(scores, rule.order_temperature, generator)
    if rule.threshold is None:
        return first(scores, eligible, counts.count)
    at_least = torch.ones_like(eligible[:, 0], dtype=torch.long)
    return first(scores, eligible, at_least) | (eligible & (drawn > rule.threshold))
