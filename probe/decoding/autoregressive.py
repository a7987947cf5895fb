"""Autoregression: one token per step, left to right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.decoding.by_sampler import BySampler
from probe.decoding.passes import Run
from probe.decoding.places import UNWRITTEN
from probe.decoding.trajectory import Log, Trajectory, ends_of
from probe.decoding.writer import writes
from probe.errors import ProbeError
from probe.paradigms import Autoregressive
from probe.paradigms.sampler import Sampler, allowed, choose, trimmed

if TYPE_CHECKING:
    from probe.models.model import Model


@writes(Autoregressive)
class LeftToRight(BySampler):
    """One token per pass; of a sampler only the options of sampling tokens matter, not its order."""

    free_steps = False

    def write(self, model: Model, prompt: Tensor, length: int, rule: Sampler, run: Run) -> Trajectory:
        return continue_text(model, prompt, length, rule, run)

    def slots_at_once(self, length: int) -> int:
        """A pass predicts one token."""
        return 1

    def in_steps(self, model: Model, steps: int, *, draws: bool = False) -> Sampler:
        return Sampler(temperature=1.0) if draws else Sampler(steps=steps)


def continue_text(model: Model, prompt: Tensor, length: int, rule: Sampler, run: Run) -> Trajectory:
    """Append the best token, or a sample at the sampler's temperature, until every text has its length or has ended."""
    _refuse_masks(model, rule)
    generator = torch.Generator().manual_seed(run.seed)
    start, end = prompt.shape[1], prompt.shape[1] + length
    tokens = torch.cat([prompt, prompt.new_full((len(prompt), length), UNWRITTEN)], 1)
    place = torch.arange(end, device=tokens.device).expand_as(tokens)
    log = Log(tokens, place >= start)
    busy = torch.ones_like(place[:, 0], dtype=torch.bool)
    for at in range(start, end):
        last = tokens.new_full((len(tokens),), at - 1)
        logits = run.passes(tokens[:, :at], last, 1).logits[:, 0]
        if model.mask_id is not None:
            logits[:, model.mask_id] = -torch.inf  # a mask is never an answer
        logits = allowed(logits, rule)
        written = (place == at) & busy[:, None]
        sure = torch.zeros_like(tokens, dtype=torch.float32).masked_fill(~written, torch.nan)
        sure[:, at] = logits.softmax(-1).amax(-1)
        state = tokens.clone()
        token = choose(trimmed(logits, rule), rule.temperature, generator)
        tokens[:, at] = token if at == start else token.where(busy, tokens[:, at - 1])
        log.step(state, sure, written)
        run.on_step(at - start, tokens, written)
        if rule.stop:
            busy = ends_of(tokens, place >= start, rule.stop) > at + 1
            log.close(~busy[:, None] & (place > at))
            if not busy.any():
                break
    heeded = {name: getattr(rule, name) for name in ("temperature", "top_k", "top_p", "suppress", "stop")}
    drawing = Sampler("left_to_right", **heeded)
    return log.finish(tokens, str(drawing), run.seed, run.passes.slots, stop=rule.stop)


def _refuse_masks(model: Model, rule: Sampler) -> None:
    if rule.guidance or rule.remask is not None:
        raise ProbeError(
            f"{'guidance' if rule.guidance else 'remasking'} for model {model.name!r}",
            expected="a model with masks: a masked or a block one",
            found=f"a {model.paradigm.name} one",
            remedy="Leave it out.",
        )
