"""Autoregression: one token a step, left to right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.decoding.run import Forward, OnStep
from probe.decoding.sampler import Sampler, choose
from probe.decoding.trajectory import UNWRITTEN, Log, Trajectory

if TYPE_CHECKING:
    from probe.models.model import Model


def continue_text(
    model: Model, prompt: Tensor, length: int, rule: Sampler, seed: int, forward: Forward, on_step: OnStep
) -> Trajectory:
    """The best token behind the text, or a draw at the sampler's temperature, again and again."""
    generator = torch.Generator().manual_seed(seed)
    start, end = prompt.shape[1], prompt.shape[1] + length
    tokens = torch.cat([prompt, prompt.new_full((len(prompt), length), UNWRITTEN)], 1)
    place = torch.arange(end, device=tokens.device).expand_as(tokens)
    log = Log(tokens, place >= start)
    for at in range(start, end):
        logits = forward(model.canvas(tokens[:, :at]))[:, -1].float()
        if model.mask_id is not None:
            logits[:, model.mask_id] = -torch.inf  # a mask is never an answer
        written = place == at
        sure = torch.zeros_like(tokens, dtype=torch.float32).masked_fill(~written, torch.nan)
        sure[:, at] = logits.softmax(-1).amax(-1)
        state = tokens.clone()
        tokens[:, at] = choose(logits, rule.temperature, generator)
        log.step(state, sure, written)
        on_step(at - start, tokens, written)
    return log.finish(tokens, "left_to_right" + (f", T {rule.temperature:g}" if rule.temperature else ""), seed)
