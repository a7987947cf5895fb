"""Flow maps: a flow's whole path in few steps, or in one (FMLM).

A flow gives the direction of a state at time s. A flow map δ_{s,t} gives the target for which one straight step

    X_{s,t}(x) = (1-t)/(1-s)·x + (t-s)/(1-s)·δ_{s,t}(x)

reaches at time t the state that the flow would reach: the average of the flow's targets along the path, a distribution
over tokens like D. Hence δ_{s,s} = D_s, and X_{s,s} is the identity. The backbone is the flow's, with a second time as
input ("until"), and is trained towards a target computed from its own outputs and D (with stop-gradient). Each of the
three targets is an equation that only the true map satisfies:

    semigroup    two steps equal one:     γ·δ_{s,u}(x) + (1-γ)·δ_{u,t}(X_{s,u}(x)),  γ = (1-t)(u-s)/((1-u)(t-s))
    lagrangian   the end follows D:    D_t(X_{s,t}(x)) - (1-t)(t-s)/(1-s)·∂_t δ_{s,t}(x)
    eulerian     the start may move:    D_s(x) + (t-s)/(1-t)·[(1-s)·∂_s δ_{s,t} + (D_s(x) - x)·∇δ_{s,t}](x)

The derivatives are forward-mode (torch.func.jvp), computed together with the value. The loss is
KL(target ‖ δ_{s,t}) + KL(D_t ‖ δ_{t,t}). D comes from a frozen teacher, a flow; without one the map is its own teacher
(self-distillation), and δ_{t,t} learns from the text, as a flow does.

The maths here is for functions `denoise(x, s, t)`, so that it can be compared with closed forms. Times are those of the
interpolant, of any shape that broadcasts over the positions of x; s = t marks a given position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from probe.errors import ProbeError, nearest
from probe.paradigms.flow import Flow, antithetic
from probe.paradigms.paradigm import NO_LABEL, TrainingBatch
from probe.paradigms.soft import Soft, ratio, step
from probe.paradigms.time_embedding import TimeEmbedding

if TYPE_CHECKING:
    from probe.paradigms.protocols import ModelLike

Denoise = Callable[[Tensor, Tensor, Tensor], Tensor]
"""δ_{s,t}(x): x and the result have the vocabulary as last axis, the times the axes before it."""

TARGETS = ("semigroup", "lagrangian", "eulerian")
# The latest τ that a training batch goes to. The Eulerian target divides by 1-t. The Lagrangian one evaluates the flow
# at the end of the step, and no flow was trained on an open place at τ = 1.
LATEST = {"semigroup": 1.0, "lagrangian": 1 - 1e-3, "eulerian": 1 - 1e-3}
TO_THE_END = 0.25  # how often a training batch's step goes to the end, like the last step of every sampler


def semigroup(x: Tensor, s: Tensor, u: Tensor, t: Tensor, denoise: Denoise) -> Tensor:
    """The joint target of two steps through u: a mixture of two distributions, so itself one."""
    first = denoise(x, s, u)
    second = denoise(step(x, s, u, first), u, t)
    gamma = ratio((1 - t) * (u - s), (1 - u) * (t - s))[..., None]
    return gamma * first + (1 - gamma) * second


def lagrangian(x: Tensor, s: Tensor, t: Tensor, denoise: Denoise, flow: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The map's target for which its end moves along the flow."""
    heading, change = _along(lambda end: denoise(x, s, end), (t,), (torch.ones_like(t),))
    factor = ratio((1 - t) * (t - s), 1 - s)[..., None]
    return flow(step(x, s, t, heading), t) - factor * change


def eulerian(x: Tensor, s: Tensor, t: Tensor, denoise: Denoise, flow: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The map's target for which all starts on the flow's path have the same end."""
    now = flow(x, s)
    # Along the path the state moves by D - x while the time moves by 1-s; at given positions, neither does.
    moving = (t > s).to(x.dtype)
    _, change = _along(
        lambda state, start: denoise(state, start, t), (x, s), ((now - x) * moving[..., None], (1 - s) * moving)
    )
    return now + ratio(t - s, 1 - t)[..., None] * change


def _along(function: Callable[..., Tensor], at: tuple[Tensor, ...], way: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """A function's value and its directional derivative, forward-mode."""
    with torch.compiler.set_stance("force_eager"):  # compiled modules have no forward-mode derivatives
        found = torch.func.jvp(function, at, way)
    return found[0], found[1]


@dataclass(frozen=True)
class FlowMap(Flow):
    """A flow with its end time as input. `teacher` is the frozen flow of a distillation."""

    name: ClassVar[str] = "flow_map"
    attaches: ClassVar[Mapping[str, Callable[[ModelLike], nn.Module]]] = MappingProxyType(
        {"time": TimeEmbedding.beside, "until": TimeEmbedding.beside}
    )
    needs: ClassVar[tuple[str, ...]] = ("time", "until")
    usual_steps: ClassVar[int] = 4
    # All hidden positions move together: with a time of its own for each, a state has many paths to its end.
    kinds: ClassVar[Mapping[str, float]] = MappingProxyType({"prompt": 0.55, "some": 0.2, "nothing": 0.25})

    target: str = "semigroup"
    teacher: ModelLike | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target not in TARGETS:
            raise ProbeError(
                f"target {self.target!r} of a flow map",
                expected="one of " + ", ".join(TARGETS),
                found=repr(self.target),
                remedy=nearest(self.target, TARGETS),
            )

    def told(self, soft: Soft) -> dict[str, Tensor]:
        return {"time": soft.tau, "until": soft.until}

    def training_batch(
        self, tokens: Tensor, generator: torch.Generator, completion: Tensor | None = None
    ) -> TrainingBatch:
        """A flow's training batch with an end time: later than the position's own, and with probability TO_THE_END the
        end, or the latest that the target allows."""
        batch = super().training_batch(tokens, generator, completion)
        soft = batch.canvas.soft
        assert soft is not None  # a flow's training batch has one
        far = antithetic(len(tokens), generator, tokens.device)[:, None]
        to_end = torch.rand(len(tokens), 1, generator=generator, device=tokens.device) < TO_THE_END
        until = soft.tau + (1 - soft.tau) * far.masked_fill(to_end, 1.0)
        until = until.clamp(max=LATEST[self.target]).maximum(soft.tau)
        return replace(batch, canvas=replace(batch.canvas, soft=replace(soft, until=until)))

    def loss(self, model: ModelLike, batch: TrainingBatch) -> Tensor:
        """KL to the target of the step from s to t, and to D at t, per hidden position."""
        view = _View(self, model, batch)
        with torch.no_grad(), _open_attention(model):
            towards = on_simplex(self._target(view))
        ahead = view.logits(view.x, view.tau, view.until)
        loss = view.mean(_kl(towards, ahead))
        # The flow inside the map, at this batch's own time, which batches spread evenly.
        here = view.logits(view.x, view.tau, view.tau)
        if self.teacher is None:
            return loss + batch.loss(here)
        with torch.no_grad():
            taught = view.flow(view.x, view.s)
        return loss + view.mean(_kl(taught, here))

    def _target(self, view: _View) -> Tensor:
        if self.target == "semigroup":
            return semigroup(view.x, view.s, view.between, view.t, view.denoise)
        made = lagrangian if self.target == "lagrangian" else eulerian
        return made(view.x, view.s, view.t, view.denoise, view.flow)


class _View:
    """One training batch for the maths: a state, its times, and the model and its teacher as functions of them."""

    def __init__(self, paradigm: FlowMap, model: ModelLike, batch: TrainingBatch):
        soft = batch.canvas.soft
        assert soft is not None  # a flow's training batch has one
        self._paradigm, self._model, self._canvas = paradigm, model, batch.canvas
        self._asked = batch.labels != NO_LABEL
        self._given = soft.given
        self._weights = batch.weights
        self._clock = paradigm.clock_of(model)
        self.tau, self.until = soft.tau, soft.until
        self.s, self.t = (self._clock.time_of(time) for time in (self.tau, self.until))
        self.x = paradigm.state(model, batch.canvas.tokens, soft)
        self._now: Tensor | None = None

    @property
    def between(self) -> Tensor:
        """u, half way on the flow's clock."""
        return self._clock.time_of((self.tau + self.until) / 2)

    def logits(self, x: Tensor, tau: Tensor, until: Tensor, model: ModelLike | None = None) -> Tensor:
        soft = Soft(tau, until, tau.new_zeros(1, dtype=torch.long), self._given, z=x)
        found = (model or self._model).run(replace(self._canvas, soft=soft), eager=True).float()
        return found.index_fill(-1, self._mask, torch.finfo(found.dtype).min)

    @property
    def _mask(self) -> Tensor:
        """The mask is not a token of text, and would only distort every average."""
        return torch.tensor([self._paradigm.given_mask()], device=self.x.device)

    def denoise(self, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
        """δ_{s,t}(x), by the map itself."""
        return self.logits(x, self._clock.tau_of(s), self._clock.tau_of(t)).softmax(-1)

    def flow(self, x: Tensor, t: Tensor) -> Tensor:
        """D_t(x), by the teacher if there is one; for the training batch's own state it is computed once."""
        if x is self.x and t is self.s:
            if self._now is None:
                self._now = self.logits(x, self.tau, self.tau, self._paradigm.teacher).softmax(-1)
            return self._now
        tau = self._clock.tau_of(t)
        return self.logits(x, tau, tau, self._paradigm.teacher).softmax(-1)

    def mean(self, each: Tensor) -> Tensor:
        """The weighted mean of a value over the hidden positions."""
        return (each * self._weights * self._asked).sum() / self._asked.sum().clamp(min=1)


@contextmanager
def _open_attention(model: ModelLike) -> Iterator[None]:
    """Eager attention, whatever a training chose: only it supports forward-mode derivatives."""
    chosen = model.attention_override
    model.attention_override = "eager"
    try:
        yield
    finally:
        model.attention_override = chosen


def on_simplex(target: Tensor) -> Tensor:
    """The target as a distribution. Those computed from derivatives leave the simplex while the map is inexact, and a
    cross-entropy with a negative probability is unbounded below."""
    positive = target.clamp(min=0)
    return positive / positive.sum(-1, keepdim=True).clamp(min=1e-12)


def _kl(target: Tensor, logits: Tensor) -> Tensor:
    """KL(target ‖ softmax of the logits), by position."""
    return (torch.special.xlogy(target, target) - target * logits.log_softmax(-1)).sum(-1)
