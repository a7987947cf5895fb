"""Masked and block diffusion: open places are predicted together, and the sampler says which are written.

A block model is asked for its current block alone: nothing in it depends on the blocks behind. Any other model is asked
for the whole answer. Rows of a batch may be in different blocks; each is asked for its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.decoding.by_sampler import BySampler
from probe.decoding.passes import Run
from probe.decoding.trajectory import Log, Trajectory
from probe.decoding.writer import writes
from probe.paradigms import Block, Masked
from probe.paradigms.sampler import (
    Sampler,
    allowed,
    choose,
    drawn_order,
    first,
    order_scores,
    share_at,
    trimmed,
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
    """From masks to text, wherever they stand, writing where the sampler says, until nothing is open."""
    mask = model.paradigm.given_mask()
    generator = torch.Generator().manual_seed(run.seed)
    still_open = tokens == mask
    start, end = int(still_open.any(0).nonzero()[0, 0]), tokens.shape[1]
    length = end - start
    place = torch.arange(end, device=tokens.device).expand_as(tokens)
    size = model.paradigm.block_size
    stretch = place // size if size else torch.zeros_like(place)  # what is asked for together
    width = min(size or length, length)
    block = _blocks(size, rule, place, start)
    steps = rule.steps or length
    log = Log(tokens, still_open)
    step = 0
    while still_open.any():
        current = _first(stretch, still_open)
        begin = (current * (size or 0)).clamp(min=start, max=end - width)
        at = begin + torch.arange(width, device=tokens.device)  # the places that are asked for (batch × width)
        logits = run.passes(tokens, (begin[:, 0] - int(model.shift)).clamp(min=0), width).logits
        logits[..., mask] = -torch.inf  # a mask is never an answer
        logits = allowed(logits, rule)
        probabilities = logits.softmax(-1)
        chosen = choose(trimmed(logits, rule), rule.temperature, generator)
        eligible = still_open & (block == _first(block, still_open))
        drawn = probabilities.gather(-1, chosen[..., None])[..., 0]
        now = _written(rule, probabilities, drawn, eligible.gather(1, at), still_open, (step, steps), generator)
        state, written = tokens, torch.zeros_like(still_open).scatter(1, at, now)
        tokens = torch.where(written, tokens.scatter(1, at, chosen), tokens)
        sure = torch.full(place.shape, torch.nan, device=place.device).scatter(1, at, probabilities.amax(-1))
        log.step(state, sure.masked_fill(stretch != current, torch.nan), written)
        run.on_step(step, tokens, written)
        still_open = still_open & ~written
        step += 1
    return log.finish(tokens, str(rule), run.seed, run.passes.slots)


def _first(number: Tensor, still_open: Tensor) -> Tensor:
    """The number (batch × 1) of the first stretch or block that has an open place; of none, the last."""
    return number.masked_fill(~still_open, number.max()).amin(1, keepdim=True)


def _blocks(size: int | None, rule: Sampler, place: Tensor, start: int) -> Tensor:
    """The number of the block that each place is written in; blocks are written in order.

    A sampler's blocks are parts of the model's own blocks, where it has them, and else of the answer.
    """
    if size is None:
        return (place - start).clamp(min=0) // rule.block if rule.block else torch.zeros_like(place)
    part = min(rule.block or size, size)
    return place // size * -(-size // part) + place % size // part


def _written(
    rule: Sampler,
    probabilities: Tensor,
    drawn: Tensor,
    eligible: Tensor,
    still_open: Tensor,
    when: tuple[int, int],
    generator: torch.Generator,
) -> Tensor:
    """Which of the places asked for are written now, among those that are eligible; `when` is the step, of how many.

    Confidence and threshold look at the probability of the token that was `drawn` (batch × places), as published
    samplers do. Without a temperature that is the best token's; with one, a place whose best token is sure may have
    drawn another, and would be written first with a token that the model holds for unlikely.
    """
    here, in_all = eligible.sum(1), still_open.sum(1)
    if rule.order == "random" and rule.threshold is None:
        reveal = torch.rand(eligible.shape, generator=generator).to(eligible.device)
        return eligible & (reveal < _share(rule, here, in_all, when)[:, None])
    scores = drawn if rule.order == "confidence" else order_scores(rule.order, probabilities, generator)
    scores = drawn_order(scores, rule.order_temperature, generator)
    if rule.threshold is None:
        return first(scores, eligible, _count(rule, here, in_all, when))
    at_least = torch.ones_like(eligible[:, 0], dtype=torch.long)
    return first(scores, eligible, at_least) | (eligible & (drawn > rule.threshold))


def _share(rule: Sampler, here: Tensor, in_all: Tensor, when: tuple[int, int]) -> Tensor:
    """The share (batch) of the places `here` that a step writes in random order, each by itself."""
    if rule.schedule == "dream":
        return torch.full(here.shape, share_at(*when), device=here.device)
    return 1 / _steps_here(here, in_all, when)


def _count(rule: Sampler, here: Tensor, in_all: Tensor, when: tuple[int, int]) -> Tensor:
    """How many (batch) of the places `here` a step writes."""
    if rule.schedule == "dream":
        return (here * share_at(*when)).floor().long()
    return (here / _steps_here(here, in_all, when)).ceil().long()


def _steps_here(here: Tensor, in_all: Tensor, when: tuple[int, int]) -> Tensor:
    """The steps that the current block gets (batch) of those left: its share by open places, and at least one."""
    steps_left, later = max(when[1] - when[0], 1), in_all - here
    for_later = (steps_left * later / in_all.clamp(min=1)).round().long().maximum((later > 0).long())
    return (steps_left - for_later).clamp(min=1)
