"""Decoding: from a prompt to an answer, in any paradigm, as one `Trajectory`.

`forward` is the one call that runs the model (canvas → logits). It is an argument so that a tracer can record every
step of the very run that writes the text, without a second pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.decoding.sampler import Sampler, choose, first, order_scores
from probe.decoding.trajectory import UNWRITTEN, Log, Trajectory
from probe.errors import ProbeError, TokenError
from probe.paradigms.block import Block
from probe.paradigms.canvas import Canvas
from probe.paradigms.fluid import Fluid
from probe.paradigms.masked import Masked

if TYPE_CHECKING:
    from probe.models.model import Model

Forward = Callable[[Canvas], Tensor]
OnStep = Callable[[int, Tensor, Tensor], None]


def decode(
    model: Model,
    prompt_tokens: Tensor,
    length: int,
    *,
    sampler: str | Sampler | None = None,
    steps: int | None = None,
    seed: int = 0,
    forward: Forward | None = None,
    on_step: OnStep | None = None,
) -> Trajectory:
    """Write `length` tokens behind a prompt (length, or batch × length), by the model's sampler unless one is given.

    `on_step(step, state, written)` is called after every forward pass, for those who want to watch.
    """
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise TokenError("length", expected="at least 1 token to write", found=str(length), remedy="Ask for more.")
    alone = isinstance(prompt_tokens, Tensor) and prompt_tokens.dim() == 1
    prompt = model.checked(prompt_tokens[None] if alone else prompt_tokens)
    own = model.entry.sampler if model.entry is not None else None
    rule = Sampler(sampler) if isinstance(sampler, str) else sampler or own or Sampler()
    rule = rule.with_steps(steps)
    write = _writer(model)
    with torch.no_grad():
        trajectory = write(model, prompt, length, rule, seed, forward or model.run, on_step or (lambda *_: None))
    return trajectory.without_batch() if alone else trajectory


def _writer(model: Model) -> Callable[..., Trajectory]:
    if isinstance(model.paradigm, Fluid):
        raise ProbeError(
            f"decoding with model {model.name!r}",
            expected="an autoregressive, masked or block model",
            found="a FLUID one, whose decoder (strides and their verification) is not built yet",
            remedy="Decode its AR twin, or record it on a canvas of inserted blocks.",
        )
    return _unmask if isinstance(model.paradigm, Masked | Block) else _continue


def _continue(
    model: Model, prompt: Tensor, length: int, rule: Sampler, seed: int, forward: Forward, on_step: OnStep
) -> Trajectory:
    """Autoregression: one token a step, left to right."""
    generator = torch.Generator().manual_seed(seed)
    start, end = prompt.shape[1], prompt.shape[1] + length
    tokens = torch.cat([prompt, prompt.new_full((len(prompt), length), UNWRITTEN)], 1)
    place = torch.arange(end, device=tokens.device).expand_as(tokens)
    log = Log(tokens, place >= start)
    for at in range(start, end):
        logits = forward(model.canvas(tokens[:, :at]))[:, -1].float()
        written = place == at
        sure = torch.zeros_like(tokens, dtype=torch.float32).masked_fill(~written, torch.nan)
        sure[:, at] = logits.softmax(-1).amax(-1)
        state = tokens.clone()
        tokens[:, at] = choose(logits, rule.temperature, generator)
        log.step(state, sure, written)
        on_step(at - start, tokens, written)
    return log.finish(tokens, "left_to_right" + (f", T {rule.temperature:g}" if rule.temperature else ""), seed)


def _unmask(
    model: Model, prompt: Tensor, length: int, rule: Sampler, seed: int, forward: Forward, on_step: OnStep
) -> Trajectory:
    """Masked and block diffusion: all open places are predicted at once, and the sampler says which are written."""
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
