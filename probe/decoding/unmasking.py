"""Masked and block diffusion: all open places are predicted at once, and the sampler says which are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.decoding.run import Forward, OnStep
from probe.decoding.sampler import Sampler, choose, first, order_scores
from probe.decoding.trajectory import Log, Trajectory
from probe.paradigms.block import Block

if TYPE_CHECKING:
    from probe.models.model import Model


def unmask(
    model: Model, prompt: Tensor, length: int, rule: Sampler, seed: int, forward: Forward, on_step: OnStep
) -> Trajectory:
    """From all masks to text, writing where the sampler says, until nothing is open."""
    mask = model.paradigm.given_mask()
    model.refuse_mask_in(prompt)
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.cat([prompt, prompt.new_full((len(prompt), length), mask)], 1)
    place = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
    still_open = place >= prompt.shape[1]
    slots = model.paradigm.read_at(tokens, place).clamp(min=0)
    block = _blocks(model, rule, place, prompt.shape[1])
    steps = rule.steps or length
    log = Log(tokens, still_open)
    step = 0
    while still_open.any():
        logits = forward(model.canvas(tokens)).float()
        logits = logits.gather(1, slots[..., None].expand(-1, -1, logits.shape[-1]))
        logits[..., mask] = -torch.inf  # a mask is never an answer
        probabilities = logits.softmax(-1)
        chosen = choose(logits, rule.temperature, generator)
        written = _written(rule, probabilities, still_open, block, max(steps - step, 1), generator)
        state = tokens
        tokens = torch.where(written, chosen, tokens)
        log.step(state, probabilities.amax(-1), written)
        on_step(step, tokens, written)
        still_open = still_open & ~written
        step += 1
    return log.finish(tokens, str(rule), seed)


def _blocks(model: Model, rule: Sampler, place: Tensor, start: int) -> Tensor:
    """The number of the block that each place is written in; blocks are written in order.

    A sampler's blocks are parts of the model's own blocks, where it has them, and else of the answer.
    """
    size = model.paradigm.size if isinstance(model.paradigm, Block) else None
    if size is None:
        return (place - start).clamp(min=0) // rule.block if rule.block else torch.zeros_like(place)
    part = min(rule.block or size, size)
    return place // size * -(-size // part) + place % size // part


def _written(
    rule: Sampler, probabilities: Tensor, still_open: Tensor, block: Tensor, steps_left: int, generator: torch.Generator
) -> Tensor:
    """Which open places are written now: some of those in the first block that is not full."""
    current = block.masked_fill(~still_open, block.max() + 1).amin(1, keepdim=True)
    eligible = still_open & (block == current)
    steps_here = _steps_here(eligible.sum(1), still_open.sum(1), steps_left)
    if rule.order == "random" and rule.threshold is None:
        reveal = torch.rand(still_open.shape, generator=generator).to(still_open.device) < 1 / steps_here[:, None]
        return eligible & reveal
    scores = order_scores(rule.order, probabilities, generator)
    if rule.threshold is None:
        return first(scores, eligible, (eligible.sum(1) / steps_here).ceil().long())
    at_least = torch.ones_like(steps_here)
    return first(scores, eligible, at_least) | (eligible & (probabilities.amax(-1) > rule.threshold))


def _steps_here(here: Tensor, in_all: Tensor, steps_left: int) -> Tensor:
    """The steps that the current block gets (batch) of those left: its share by open places, and at least one."""
    later = in_all - here
    for_later = (steps_left * later / in_all.clamp(min=1)).round().long().maximum((later > 0).long())
    return (steps_left - for_later).clamp(min=1)
