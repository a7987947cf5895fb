"""Flows: noise is transported to text, all hidden positions at once, in any number of steps.

The path from noise to text is divided into steps that are uniform on the flow's own clock. One step goes from time s to
t:

    z ← (1-t)/(1-s)·z + (t-s)/(1-s)·D

For a flow D is its prediction of the text at s, and the step is Euler's; for a flow map it is δ_{s,t}, made for exactly
this step, so that few steps (or one) suffice. The last step ends at t = 1, where z is D, and the text is its best
tokens.

Given tokens stay fixed: the prompt is one-hot, at τ = 1, through all steps. Hidden are the positions to be written, and
masks within a prompt, so that the same call fills blanks. A position counts as committed from the step from which its
best token is the final one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.decoding.passes import Run
from probe.decoding.places import GIVEN
from probe.decoding.spelling import with_ids
from probe.decoding.trajectory import Log, Trajectory
from probe.decoding.writer import Rule, Writer, refused, writes
from probe.errors import ProbeError
from probe.paradigms import Flow
from probe.paradigms.flow import MOST
from probe.paradigms.soft import Soft, noise
from probe.paradigms.soft import step as carried

if TYPE_CHECKING:
    from probe.models.model import Model


@dataclass(frozen=True)
class Flowing:
    """`steps` from noise to text (None: the paradigm's default); `keep` saves every state z in the trajectory. A flow
    writes all positions together, so a `stop` token saves no step: it only ends the text."""

    steps: int | None = None
    keep: bool = False
    stop: tuple[int | str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", tuple(self.stop))  # a spec writes a list
        if self.steps is not None and (isinstance(self.steps, bool) or self.steps < 1):
            raise ProbeError(
                "steps of a flow", expected="a whole number of at least 1", found=repr(self.steps), remedy="Take 1."
            )

    def __str__(self) -> str:
        ending = ", stop at " + " ".join(map(str, self.stop)) if self.stop else ""
        return f"{self.steps} {'step' if self.steps == 1 else 'steps'} of a flow{ending}"


@writes(Flow)
class FromNoise(Writer[Flowing]):
    """All hidden positions together, in any number of steps."""

    kind = Flowing
    divides = False  # the noise of all rows is drawn together

    def rule(self, model: Model, asked: str | Rule | None, steps: int | None) -> Flowing:
        if asked is not None and not isinstance(asked, Flowing):
            raise refused(
                model,
                asked,
                "Flowing: a flow writes all positions together, in any number of steps",
                "Pass steps=8, or sampler=probe.decoding.Flowing(steps=8).",
            )
        rule = with_ids(model, asked or Flowing())
        return replace(rule, steps=steps or rule.steps or _flow_of(model).usual_steps)

    def write(self, model: Model, prompt: Tensor, length: int, rule: Flowing, run: Run) -> Trajectory:
        return flow_to_text(model, prompt, length, rule, run)

    def most_passes(self, rule: Flowing, length: int) -> int:
        assert rule.steps is not None  # `rule` settles it
        return rule.steps

    def keeping_states(self, rule: Flowing) -> Flowing:
        return replace(rule, keep=True)

    def times(self, model: Model, rule: Flowing) -> tuple[Tensor, Tensor]:
        return times_of(model, rule)

    def in_steps(self, model: Model, steps: int, *, draws: bool = False) -> Flowing:
        """Its noise is always random."""
        return Flowing(steps)


def flow_to_text(model: Model, prompt: Tensor, length: int, rule: Flowing, run: Run) -> Trajectory:
    """From noise to text in `rule.steps` steps."""
    flow, mask = _flow_of(model), model.paradigm.given_mask()
    tokens = torch.cat([prompt, prompt.new_full((len(prompt), length), mask)], 1)
    is_open = tokens == mask
    tau, t = times_of(model, rule)
    steps, grid = len(tau), torch.cat([tau, torch.ones(1)]).to(tokens.device)
    clock = flow.clock_of(model)
    draw = torch.randint(MOST, (len(tokens),), generator=torch.Generator().manual_seed(run.seed))
    z = noise(draw, tokens.shape[1], model.vocabulary, mask).to(tokens.device)
    log, best, kept = Log(tokens, is_open, moving=True), torch.full_like(tokens, -1), []
    for step in range(steps):
        now, then = (grid[at].where(is_open, 1.0) for at in (step, step + 1))
        soft = Soft(now, then, draw, ~is_open, z)
        state = tokens.where(~is_open, z.argmax(-1))
        logits = run.passes.whole(replace(model.canvas(state), soft=soft))
        logits[..., mask] = -torch.inf  # a mask is never an answer
        denoised = logits.softmax(-1)
        if rule.keep:
            kept.append(flow.state(model, state, soft))
        z = carried(z, clock.time_of(now), clock.time_of(then), denoised)
        before, best = best, denoised.argmax(-1)
        changed = is_open & (best != before)
        tokens = tokens.where(~is_open, best)
        log.step(state, denoised.amax(-1), changed, busy=is_open.any(1), after=tokens)
        run.on_step(step, tokens, changed)
    told = log.finish(tokens, str(replace(rule, steps=steps)), run.seed, run.passes.slots, stop=rule.stop)
    return replace(told, tau=tau, t=t, z=torch.stack(kept, 1) if kept else None)


def times_of(model: Model, rule: Flowing) -> tuple[Tensor, Tensor]:
    """Where each step starts, on the flow's clock and in the interpolant's time."""
    flow = _flow_of(model)
    steps = rule.steps or flow.usual_steps
    tau = torch.arange(steps) / steps
    return tau, flow.clock_of(model).time_of(tau)


def state_at(run: Trajectory, step: int) -> Soft:
    """The model's input at a step of a flow's run that kept its states."""
    if run.z is None or run.tau is None:
        raise ProbeError(
            "a flow's trajectory",
            expected="one with its states: z has a number for every token at every position and step",
            found="one without them",
            remedy="Decode with sampler=probe.decoding.Flowing(steps, keep=True).",
        )
    is_open = run.committed_at != GIVEN
    times = torch.cat([run.tau, torch.ones(1)]).to(is_open.device)
    now, then = (times[at].where(is_open, 1.0) for at in (step, step + 1))
    draw = torch.zeros(len(now), dtype=torch.long, device=now.device)
    return Soft(now, then, draw, ~is_open, z=run.z[:, step])


def _flow_of(model: Model) -> Flow:
    assert isinstance(model.paradigm, Flow)
    return model.paradigm
