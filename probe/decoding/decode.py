"""Decoding: from a prompt to an answer, in any paradigm, as one `Trajectory`.

`forward` is the one call that runs the model (canvas → logits). It is an argument so that a tracer can record every
step of the very run that writes the text, without a second pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.decoding.in_order import continue_text
from probe.decoding.run import Forward, OnStep
from probe.decoding.sampler import Sampler
from probe.decoding.strides import Strides, stride
from probe.decoding.trajectory import Trajectory
from probe.decoding.unmasking import unmask
from probe.errors import ProbeError, TokenError
from probe.paradigms.fluid import Fluid

if TYPE_CHECKING:
    from probe.models.model import Model


def decode(
    model: Model,
    prompt_tokens: Tensor,
    length: int,
    *,
    sampler: str | Sampler | Strides | None = None,
    steps: int | None = None,
    seed: int = 0,
    forward: Forward | None = None,
    on_step: OnStep | None = None,
) -> Trajectory:
    """Write `length` tokens behind a prompt (length, or batch × length), by the model's sampler unless one is given.

    A FLUID model writes by `Strides`, the others by a `Sampler` (or the name of its order). `on_step(step, state,
    written)` is called after every forward pass, for those who want to watch.
    """
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise TokenError("length", expected="at least 1 token to write", found=str(length), remedy="Ask for more.")
    alone = isinstance(prompt_tokens, Tensor) and prompt_tokens.dim() == 1
    prompt = model.checked(prompt_tokens[None] if alone else prompt_tokens)
    how = (seed, forward or model.run, on_step or (lambda *_: None))
    with torch.no_grad():
        if isinstance(model.paradigm, Fluid):
            trajectory = stride(model, prompt, length, _strides(sampler, steps), *how)
        else:
            write = continue_text if model.paradigm.in_order else unmask
            trajectory = write(model, prompt, length, _sampler(model, sampler, steps), *how)
    return trajectory.without_batch() if alone else trajectory


def _sampler(model: Model, asked: str | Sampler | Strides | None, steps: int | None) -> Sampler:
    if isinstance(asked, Strides):
        raise ProbeError(
            f"sampler for model {model.name!r}",
            expected="a Sampler: strides are how FLUID models write",
            found=str(asked),
            remedy="Pass for example sampler='confidence'.",
        )
    own = model.entry.sampler if model.entry is not None else None
    rule = Sampler(asked) if isinstance(asked, str) else asked or own or Sampler()
    return rule.with_steps(steps)


def _strides(asked: str | Sampler | Strides | None, steps: int | None) -> Strides:
    if asked is None and steps is None:
        return Strides()
    if isinstance(asked, Strides) and steps is None:
        return asked
    raise ProbeError(
        "sampler for a FLUID model",
        expected="Strides: it writes left to right, in strides, in as many passes as they take",
        found=f"{asked}" if steps is None else f"{steps} steps",
        remedy="Pass sampler=probe.decoding.Strides(length=8, threshold=0.9, verify=True), or nothing.",
    )
