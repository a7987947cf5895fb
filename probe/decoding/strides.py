"""FLUID: strides of masks behind the text, filled by causal diffusion and checked by one causal pass.

A stride appends K masks. At every pass its first open slot takes the best token, and so does every later one that is
surer than γ. When a stride is full, the same causal pass that would go on predicting shows what autoregression would
have written there: the stride is kept up to the first token that differs, which is replaced, and the rest is masked
again. So with verification the text is that of greedy autoregression from the same weights, in fewer passes when the
drafts are good; without, it is what diffusion alone writes.

Attention being causal, masks appended to the text and a block inserted behind its last token are one and the same, and
rows of a batch that are at different points of their strides share every pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.decoding.run import Forward, OnStep
from probe.decoding.trajectory import Log, Trajectory
from probe.errors import ProbeError

if TYPE_CHECKING:
    from probe.models.model import Model


@dataclass(frozen=True)
class Strides:
    """Fixed strides of `length` masks; `threshold` is γ; `verify` checks each stride against autoregression."""

    length: int = 8
    threshold: float = 0.9
    verify: bool = True

    def __post_init__(self) -> None:
        if self.length < 1 or not 0 <= self.threshold <= 1:
            raise ProbeError(
                "strides",
                expected="a length of at least 1 and a threshold from 0 to 1",
                found=f"length {self.length}, threshold {self.threshold}",
                remedy="For example Strides(length=8, threshold=0.9).",
            )

    def __str__(self) -> str:
        return f"strides of {self.length}, γ {self.threshold:g}" + (", verified" if self.verify else "")


def stride(
    model: Model, prompt: Tensor, length: int, rule: Strides, seed: int, forward: Forward, on_step: OnStep
) -> Trajectory:
    """Write in strides. Nothing is drawn, so `seed` only goes into the record."""
    mask = model.paradigm.given_mask()
    model.refuse_mask_in(prompt)
    start, end = prompt.shape[1], prompt.shape[1] + length
    tokens = torch.cat([prompt, prompt.new_full((len(prompt), length), mask)], 1)
    place = torch.arange(end, device=tokens.device).expand_as(tokens)
    settled = torch.full((len(tokens), 1), start, device=tokens.device)  # how much of each row is text for good
    log = Log(tokens, place >= start)
    step = 0
    while (settled < end).any():
        logits = forward(model.canvas(tokens)).float()
        logits[..., mask] = -torch.inf  # a mask is never an answer
        sure, best = (part.roll(1, dims=1) for part in logits.softmax(-1).max(-1))  # the slot before answers
        stride_end = (settled + rule.length).clamp(max=end)
        inside = (place >= settled) & (place < stride_end)
        is_open = inside & (tokens == mask)
        drafting = is_open.any(1, keepdim=True)
        first_open = torch.where(is_open, place, end).amin(1, keepdim=True)
        drafted = is_open & ((place == first_open) | (sure > rule.threshold))
        wrong = inside & ~drafting & (tokens != best)
        first_wrong = torch.where(wrong, place, end).amin(1, keepdim=True)
        corrected = wrong & (place == first_wrong)
        reopened = inside & ~drafting & (place > first_wrong)
        state, written = tokens, drafted | corrected
        tokens = torch.where(written, best, tokens).masked_fill(reopened, mask)
        log.step(state, sure, written, reopened)
        on_step(step, tokens, written)
        kept = torch.minimum(first_wrong + 1, stride_end)
        settled = torch.where(drafting, _unbroken(tokens, mask, settled, stride_end, rule), kept)
        step += 1
    return log.finish(tokens, str(rule), seed)


def _unbroken(tokens: Tensor, mask: int, settled: Tensor, stride_end: Tensor, rule: Strides) -> Tensor:
    """How far a row is settled by drafting: nowhere until it is verified, else past the unbroken accepted run."""
    if rule.verify:
        return settled
    place = torch.arange(tokens.shape[1], device=tokens.device)
    gaps = (tokens == mask) & (place >= settled) & (place < stride_end)
    return torch.where(gaps, place, stride_end).amin(1, keepdim=True)
