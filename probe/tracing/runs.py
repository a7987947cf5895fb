"""Runs to record: one forward pass of some examples, or every pass of a decoding run.

A run is made a few examples at a time. It passes each canvas, with the number of its step, to `see`, which runs the
model and records; what only the run knows (confidences, when each token was written) it returns afterwards.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from probe.errors import TraceError
from probe.paradigms.canvas import Canvas

if TYPE_CHECKING:
    from probe.decoding.trajectory import Trajectory
    from probe.models.model import Model

See = Callable[[Canvas, int], Tensor | None]
Steps = slice | Iterable[int] | None


class Run(ABC):
    """Some examples and the forward passes to be made over them."""

    @property
    @abstractmethod
    def examples(self) -> int: ...

    @property
    @abstractmethod
    def slots(self) -> int:
        """The slots of a canvas, an upper bound."""

    @property
    @abstractmethod
    def steps(self) -> tuple[int, ...] | None:
        """The steps that may be kept; None if there is no step axis."""

    @property
    @abstractmethod
    def tokens(self) -> Tensor:
        """Identifies this run."""

    def times(self, model: Model) -> dict[str, Tensor]:
        """For a flow's run, the times of its steps by clock."""
        return {}

    @abstractmethod
    def play(self, model: Model, rows: slice, see: See) -> Trajectory | None:
        """Make the passes over some of the examples. `see` may get steps that are not kept."""


@dataclass(frozen=True)
class SinglePass(Run):
    """One forward pass. `notes` has further coordinates of each example."""

    canvas: Canvas
    notes: dict[str, Tensor] = field(default_factory=dict)

    @property
    def steps(self) -> None:
        return None

    @property
    def examples(self) -> int:
        return len(self.canvas)

    @property
    def slots(self) -> int:
        return self.canvas.slots

    @property
    def tokens(self) -> Tensor:
        return self.canvas.tokens

    def play(self, model: Model, rows: slice, see: See) -> None:
        see(self.canvas[rows], 0)


@dataclass(frozen=True)
class Replay(Run):
    """The states of a finished decoding run, replayed."""

    trajectory: Trajectory  # with its batch axis
    chosen: tuple[int, ...]
    attention: str | Tensor | None = None

    @property
    def examples(self) -> int:
        return len(self.trajectory.tokens)

    @property
    def slots(self) -> int:
        return self.trajectory.tokens.shape[1]

    @property
    def steps(self) -> tuple[int, ...]:
        return self.chosen

    @property
    def tokens(self) -> Tensor:
        return self.trajectory.states

    def play(self, model: Model, rows: slice, see: See) -> Trajectory:
        from probe.decoding.places import UNWRITTEN

        part = _rows(self.trajectory, rows)
        if part.tau is not None:
            return self._play_flow(model, part, see)
        for step in self.chosen:
            state = part.states[:, step]
            written = int((state != UNWRITTEN).sum(1).max())  # an autoregressive run sees only the written tokens
            see(model.canvas(state[:, :written], self.attention), step)
        return part

    def _play_flow(self, model: Model, part: Trajectory, see: See) -> Trajectory:
        from probe.decoding.flow import state_at

        for step in self.chosen:
            see(replace(model.canvas(part.states[:, step], self.attention), soft=state_at(part, step)), step)
        return part

    def times(self, model: Model) -> dict[str, Tensor]:
        tau, t = self.trajectory.tau, self.trajectory.t
        return {} if tau is None or t is None else {"tau": tau[list(self.chosen)], "t": t[list(self.chosen)]}


@dataclass(frozen=True)
class LiveRun(Run):
    """A decoding run, recorded while it is made: every forward pass is made once."""

    prompt: Tensor
    length: int
    passes: int  # no run makes more
    chosen: slice | frozenset[int] = field(default_factory=lambda: slice(None))
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def examples(self) -> int:
        return len(self.prompt)

    @property
    def slots(self) -> int:
        return self.prompt.shape[1] + self.length

    @property
    def steps(self) -> tuple[int, ...]:
        passes = range(self.passes)
        return tuple(
            passes[self.chosen] if isinstance(self.chosen, slice) else sorted(self.chosen.intersection(passes))
        )

    @property
    def tokens(self) -> Tensor:
        return self.prompt

    def times(self, model: Model) -> dict[str, Tensor]:
        from probe.decoding import writer_of

        writer = writer_of(model)
        times = writer.times(model, writer.settled(model, self.options.get("sampler"), self.options.get("steps")))
        return {} if times is None else {"tau": times[0][list(self.steps)], "t": times[1][list(self.steps)]}

    def play(self, model: Model, rows: slice, see: See) -> Trajectory:
        from probe.decoding import PassOptions, decode

        count = itertools.count()

        def forward(canvas: Canvas) -> Tensor:
            logits = see(canvas, next(count))
            assert logits is not None  # see() knows that decoding reads them
            return logits

        return decode(model, self.prompt[rows], self.length, passes=PassOptions(forward=forward), **self.options)


def replay(trajectory: Trajectory, steps: Steps, attention: str | Tensor | None) -> Replay:
    """A replay of some steps of a trajectory."""
    whole = _with_batch(trajectory)
    count = whole.states.shape[1]
    if steps is None:
        chosen = tuple(range(count))
    elif isinstance(steps, slice):
        chosen = tuple(range(count)[steps])
    else:
        chosen = tuple(int(step) + count if step < 0 else int(step) for step in steps)
    if not chosen or min(chosen) < 0 or max(chosen) >= count:
        raise TraceError(
            "steps", expected=f"steps from 0 to {count - 1}", found=str(steps), remedy=f"The run took {count} steps."
        )
    return Replay(whole, chosen, attention)


def live(model: Model, prompt: Tensor, length: int, steps: Steps, options: dict[str, Any]) -> LiveRun:
    """A decoding run to make, of which some steps are kept."""
    if isinstance(steps, slice):
        chosen, named = steps, [part for part in (steps.start, steps.stop, steps.step) if part is not None]
    else:
        named = None if steps is None else [int(step) for step in steps]
        chosen = slice(None) if named is None else frozenset(named)
    if named and min(named) < 0:
        raise TraceError(
            "steps",
            expected="steps counted from the beginning, since their number is not yet known",
            found=str(steps),
            remedy="Decode first, and record the Trajectory.",
        )
    return LiveRun(prompt, length, _most_passes(model, length, options), chosen, options)


def _most_passes(model: Model, length: int, options: dict[str, Any]) -> int:
    """No decoding run under these options makes more forward passes."""
    from probe.decoding import writer_of

    writer = writer_of(model)
    return writer.most_passes(writer.settled(model, options.get("sampler"), options.get("steps")), length)


def _with_batch(trajectory: Trajectory) -> Trajectory:
    return trajectory if trajectory.tokens.dim() == 2 else _map(trajectory, lambda part: part[None])


def _rows(trajectory: Trajectory, rows: slice) -> Trajectory:
    return _map(trajectory, lambda part: part[rows])


def _map(trajectory: Trajectory, change: Callable[[Tensor], Tensor]) -> Trajectory:
    names = ("tokens", "states", "committed_at", "confidence", "z", "changes", "ends")
    found = {name: part for name in names if (part := getattr(trajectory, name)) is not None}
    return replace(trajectory, **{name: change(torch.as_tensor(part)) for name, part in found.items()})
