"""Decoding: from a prompt to an answer, in any paradigm, as one `Trajectory`.

Each paradigm has a writer, which knows a rule (a `Sampler`, or FLUID's `Strides`) and asks for forward passes. What is
asked for is computed with keys and values kept from pass to pass, wherever the attention makes that exact (see
`probe.decoding.passes`). `forward` is the one call that runs the model (canvas → logits) where a tracer is to record
every step of the very run that writes the text, without a second pass: it is shown every state whole.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.decoding.autoregressive import continue_text
from probe.decoding.flow import Flowing, flow_to_text
from probe.decoding.fluid import ELASTIC, Strides, stride
from probe.decoding.masked import unmask
from probe.decoding.passes import (
    Forward,
    OnStep,
    OnStride,
    Run,
    passes_of,
)
from probe.decoding.trajectory import Trajectory
from probe.errors import ProbeError, TokenError
from probe.paradigms.flow import Flow
from probe.paradigms.fluid import Fluid
from probe.paradigms.sampler import Sampler

if TYPE_CHECKING:
    from probe.models.model import Model

Rule = Sampler | Strides | Flowing


def decode(
    model: Model,
    prompt_tokens: Tensor,
    length: int,
    *,
    sampler: str | Rule | None = None,
    steps: int | None = None,
    seed: int = 0,
    cache: bool | None = None,
    forward: Forward | None = None,
    on_step: OnStep | None = None,
    on_stride: OnStride | None = None,
) -> Trajectory:
    """Write `length` tokens behind a prompt (length, or batch × length), by the model's sampler unless one is given.

    A FLUID model writes by `Strides`, a flow by `Flowing` in `steps` steps, the others by a `Sampler` (or the name of
    its order). Keys and values are kept
    wherever that is exact; `cache=False` computes every state whole, and `cache=True` refuses to. `on_step(step, state,
    written)` is called after every forward pass, for those who want to watch, and `on_stride(strides)` with the strides
    that ended in it.
    """
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise TokenError("length", expected="at least 1 token to write", found=str(length), remedy="Ask for more.")
    alone = isinstance(prompt_tokens, Tensor) and prompt_tokens.dim() == 1
    prompt = model.checked(prompt_tokens[None] if alone else prompt_tokens)
    rule = rule_for(model, sampler, steps)
    elastic = isinstance(rule, Strides) and rule.elastic
    passes = passes_of(model, prompt.shape[1] + length, forward, cache, hidden=elastic)
    run = Run(passes, seed, on_step or _unwatched, on_stride or _unwatched)
    with torch.no_grad():
        if isinstance(rule, Strides):
            trajectory = stride(model, prompt, length, rule, run)
        elif isinstance(rule, Flowing):
            trajectory = flow_to_text(model, prompt, length, rule, run)
        else:
            write = continue_text if model.paradigm.in_order else unmask
            trajectory = write(model, prompt, length, rule, run)
    return trajectory.without_batch() if alone else trajectory


def _unwatched(*_: object) -> None:
    pass


def rule_for(model: Model, asked: str | Rule | None = None, steps: int | None = None) -> Rule:
    """The rule by which a model writes: what is asked for, or its own; refused where it is another paradigm's."""
    if isinstance(model.paradigm, Fluid):
        return _strides(model, asked, steps)
    return _flowing(model, asked, steps) if isinstance(model.paradigm, Flow) else _sampler(model, asked, steps)


def _flowing(model: Model, asked: str | Rule | None, steps: int | None) -> Flowing:
    if asked is not None and not isinstance(asked, Flowing):
        raise ProbeError(
            f"sampler for model {model.name!r}",
            expected="Flowing: a flow carries all places together, in any number of steps",
            found=str(asked),
            remedy="Pass steps=8, or sampler=probe.decoding.Flowing(steps=8).",
        )
    rule = asked or Flowing()
    return replace(rule, steps=steps or rule.steps or model.paradigm.usual_steps)  # type: ignore[attr-defined]


def _sampler(model: Model, asked: str | Rule | None, steps: int | None) -> Sampler:
    if isinstance(asked, Strides | Flowing):
        raise ProbeError(
            f"sampler for model {model.name!r}",
            expected="a Sampler: strides are how FLUID models write, and flowing how flows do",
            found=str(asked),
            remedy="Pass for example sampler='confidence'.",
        )
    own = model.entry.sampler if model.entry is not None else None
    rule = Sampler(asked) if isinstance(asked, str) else asked or own or Sampler()
    return rule.with_steps(steps)


def _strides(model: Model, asked: str | Rule | None, steps: int | None) -> Strides:
    """Elastic ones are the default of a model that has learnt its horizon."""
    if asked is None and steps is None:
        return Strides(ELASTIC) if "horizon" in model.attachments else Strides()
    if isinstance(asked, Strides) and steps is None:
        return asked
    raise ProbeError(
        "sampler for a FLUID model",
        expected="Strides: it writes left to right, in strides, in as many passes as they take",
        found=f"{asked}" if steps is None else f"{steps} steps",
        remedy="Pass sampler=probe.decoding.Strides(length=8, threshold=0.9, verify=True), or nothing.",
    )
