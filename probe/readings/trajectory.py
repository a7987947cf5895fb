"""The trajectory reading: one question at every step of a real decoding run at which the answer was still masked.

The model decodes the completion from the clean prompt, and predicts the answer from each state that it saw on the way.
The corrupt rows are those same states with the corrupt prompt: the written tokens and the masks are identical, so that
only the question differs. Once the answer is written, its logits are untrained; an autoregressive model's are untrained
until everything before the answer is written. Such steps are left out of the view. A flow's states are noise at a time
τ, in which the answer is never written before the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from probe.batch import Batch
from probe.decoding import Asked, PassOptions, Trajectory, decode, writer_of
from probe.decoding.flow import state_at
from probe.decoding.places import UNWRITTEN
from probe.decoding.rules import refuse_misfit
from probe.errors import ProbeError, TaskError, nearest
from probe.models.model import Model
from probe.paradigms.soft import Soft
from probe.readings.reading import Reading, View
from probe.readings.still import written_span

RULES = ("commit", "first", "mean")


@dataclass(frozen=True)
class TrajectoryReading(Reading):
    """`aggregate` combines an example's steps into one value: that of the last step, which "commit"s the answer (or
    drafts it finally, if drafts are verified), of the "first", or the "mean" of all.

    The run uses the model's own attention and `sampler` (None: its own; a mapping in specs); `attention` is that of the
    question.
    """

    name: ClassVar[str] = "trajectory"
    of_runs: ClassVar[bool] = True

    sampler: Asked = None
    seed: int = 0
    aggregate: str = "commit"

    def __post_init__(self) -> None:
        _refuse_unknown(self.aggregate)
        if isinstance(self.sampler, Mapping):
            refuse_misfit(self.sampler)

    @property
    def rule(self) -> str:
        return self.aggregate

    def run(self, model: Model, batch: Batch, *, passes: PassOptions = PassOptions()) -> Trajectory:  # noqa: B008  (frozen)
        """The decoding run of the clean prompts."""
        start, length = written_span(batch, self.name)
        if start + length != batch.clean.shape[1]:
            raise TaskError(
                f"task {batch.task!r} under the reading {self.name!r}",
                expected="a completion that is the end of the text",
                found=f"{batch.clean.shape[1] - start - length} tokens after it",
                remedy="Use the reading 'prefix' or 'one_mask'.",
            )
        writer = writer_of(model)
        rule = writer.keeping_states(writer.settled(model, self.sampler, None))
        return decode(model, batch.clean[:, :start], length, sampler=rule, seed=self.seed, passes=passes)

    def view(self, model: Model, batch: Batch) -> View:
        return view_of(self.run(model, batch), model, batch)


def view_of(run: Trajectory, model: Model, batch: Batch) -> View:
    """The states of a run of `batch.clean` in which the answer was masked, earlier steps first."""
    if run.tau is not None:
        return _view_of_flow(run)
    states = run.states.cpu()
    start = int(batch.positions["completion"].min())
    unknown = (states == UNWRITTEN) if model.mask_id is None else (states == UNWRITTEN) | (states == model.mask_id)
    unknown[..., :start] = False  # a prompt is given, whatever its tokens
    answer = batch.positions["answer"].cpu()
    is_open = _at_answer(model.paradigm.answerable(unknown), answer)
    step, example = is_open.T.nonzero(as_tuple=True)
    hidden = unknown[example, step]
    written = states[example, step]
    written[:, :start] = UNWRITTEN
    return View(hidden, example, step, hidden.float().mean(1), written)


def _view_of_flow(run: Trajectory) -> View:
    """Every state of a flow's run; its text is in z, and only the given part is in the batch."""
    rows, steps, _ = run.states.shape
    step, example = torch.cartesian_prod(torch.arange(steps), torch.arange(rows)).T
    soft = Soft.all_of([state_at(run, at) for at in range(steps)])
    hidden = ~soft.given
    return View(hidden, example, step, hidden.float().mean(1), soft=soft)


def _at_answer(states: Tensor, places: Tensor) -> Tensor:
    """(example, step): the value at an example's position (n, 1) at each step."""
    return states.gather(2, places[:, None].expand(-1, states.shape[1], 1))[..., 0]


def aggregated(values: Tensor, view: View, rule: str) -> Tensor:
    """One value per example (n × …) from one per row, by a named rule over the example's rows."""
    _refuse_unknown(rule)
    n = int(view.example.max()) + 1
    example, step = view.example.to(values.device), view.step.to(values.device)
    kept = torch.ones_like(example, dtype=torch.bool)
    if rule != "mean":
        limit = step.new_zeros(n).scatter_reduce(
            0, example, step, "amax" if rule == "commit" else "amin", include_self=False
        )
        kept = step == limit[example]
    total = values.new_zeros(n, *values.shape[1:]).index_add_(0, example[kept], values[kept])
    count = torch.bincount(example[kept], minlength=n)
    return total / count.view(-1, *[1] * (values.dim() - 1))


def _refuse_unknown(rule: str) -> None:
    if rule not in RULES:
        raise ProbeError(
            f"aggregate {rule!r}",
            expected="one of " + ", ".join(RULES),
            found=repr(rule),
            remedy=nearest(str(rule), RULES),
        )
