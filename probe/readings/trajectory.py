"""The trajectory reading: one question at every step of a real decoding run.

The model decodes the completion from the clean prompt, and is asked for the answer in each state that it saw on the
way. The corrupt rows are those same states under the corrupt prompt: what the run had written and what it still had
masked are identical, so that only the question differs. Once the answer is written, its logits are untrained; those
rows are not `open`, and no rule of aggregation uses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from probe.decoding import Sampler, Trajectory, decode
from probe.decoding.trajectory import UNWRITTEN
from probe.errors import ProbeError, TaskError, nearest
from probe.models.model import Model
from probe.readings.reading import Asked, Reading, shown
from probe.tasks.batch import Batch

RULES = ("commit", "first", "mean")


@dataclass(frozen=True)
class TrajectoryReading(Reading):
    """`aggregate` makes one figure of an example's steps: at the step that "commit"s the answer, at the "first", or the
    "mean" of all the open ones."""

    name: ClassVar[str] = "trajectory"

    sampler: Sampler | None = None
    seed: int = 0
    aggregate: str = "commit"

    def __post_init__(self) -> None:
        if self.aggregate not in RULES:
            raise ProbeError(
                f"aggregate {self.aggregate!r}",
                expected="one of " + ", ".join(RULES),
                found=repr(self.aggregate),
                remedy=nearest(self.aggregate, RULES),
            )

    def run(self, model: Model, batch: Batch) -> Trajectory:
        """The decoding run of the clean prompts."""
        completion = batch.positions["completion"]
        start, length = int(completion.min()), batch.clean.shape[1]
        if completion.shape[1] != length - start or int(completion[:, 0].max()) != start:
            raise TaskError(
                f"task {batch.task!r} read as a trajectory",
                expected="a completion that is the end of the text",
                found="text after or between the places to be written",
                remedy="Use the reading 'prefix' or 'one_mask'.",
            )
        return decode(model, batch.clean[:, :start], length - start, sampler=self.sampler, seed=self.seed)

    def ask(self, model: Model, batch: Batch, which: str = "clean") -> Asked:
        run = self.run(model, batch)
        states = run.states.transpose(0, 1).flatten(0, 1)  # (step × example, position)
        n, steps = len(batch), len(run)
        example, step = torch.arange(n).repeat(steps), torch.arange(steps).repeat_interleave(n)
        given = int(batch.positions["completion"].min())
        prompt = getattr(batch, which).to(states.device)[example, :given]
        tokens = torch.cat([prompt, states[:, given:]], dim=1)
        hidden = tokens == (UNWRITTEN if model.mask_id is None else model.mask_id)
        hidden |= tokens == UNWRITTEN
        state = shown(model, tokens.clamp(min=0), hidden, self.attention)
        answer = batch.positions["answer"][example].to(state.device)
        is_open = hidden.gather(1, answer)[:, 0]
        if model.paradigm.in_order:  # it knows only the next token: nothing unwritten may stand before the answer
            is_open &= ~hidden.gather(1, (answer - 1).clamp(min=0))[:, 0]
        return Asked(
            canvas=model.canvas(state, self.attention),
            slots=model.paradigm.read_at(state, answer),
            example=example,
            step=step,
            open=is_open.cpu(),
            ratio=hidden.float().mean(1).cpu(),
        )

    def __str__(self) -> str:
        return f"{super().__str__()} ({self.sampler or 'own sampler'}; {self.aggregate})"


def aggregated(values: Tensor, asked: Asked, rule: str) -> Tensor:
    """One figure an example (n × …) from one a row, by a named rule over the example's open steps."""
    n = int(asked.example.max()) + 1
    example, step = asked.example.to(values.device), asked.step.to(values.device)
    is_open = asked.open.to(values.device)
    if rule == "mean":
        kept = is_open
    else:
        limit = torch.where(is_open, step, -1 if rule == "commit" else int(step.max()) + 1)
        reduce = "amax" if rule == "commit" else "amin"
        wanted = torch.zeros(n, dtype=step.dtype, device=step.device)
        wanted = wanted.scatter_reduce(0, example, limit, reduce, include_self=False)
        kept = is_open & (step == wanted[example])
    total = torch.zeros(n, *values.shape[1:], dtype=values.dtype, device=values.device)
    total.index_add_(0, example[kept], values[kept])
    count = torch.bincount(example[kept], minlength=n).clamp(min=1)
    return total / count.view(-1, *[1] * (values.dim() - 1))
