"""Prompt pairs: the data of an attribution. Each row is one clean prompt, its corrupt version, and a weight.

A reading turns an example into one prompt or several (draws of a mask, steps of a decoding run), and has a rule that
combines them into one number. Attribution is linear in the metric, so the rule becomes a weight: `weight` is chosen so
that the scores of the rows add up to the mean over examples. Rows of weight 0 (all but the last step, for instance) are
not computed at all. With `step=` the rows are those of one step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.errors import ProbeError
from probe.paradigms.canvas import Canvas
from probe.readings import Reading, View, aggregated, comparable
from probe.readings.reading import Prompts

if TYPE_CHECKING:
    from probe.batch import Batch
    from probe.models.model import Model


@dataclass(frozen=True, eq=False)
class Truth:
    """Each row's right answers, for metrics; on the model's device."""

    target: Tensor  # (rows)
    distractor: Tensor  # (rows)
    choices: Tensor  # (choices)
    right: Tensor  # (rows, choices)
    wrong: Tensor  # (rows, choices)
    clean: Tensor | None = None  # (rows, vocabulary), the model's logits on the clean prompts

    def __getitem__(self, rows: slice | Tensor) -> Truth:
        clean = None if self.clean is None else self.clean[rows]
        return Truth(self.target[rows], self.distractor[rows], self.choices, self.right[rows], self.wrong[rows], clean)


@dataclass(frozen=True, eq=False)
class PromptPairs:
    """Rows to attribute. Indexing selects some of them."""

    model: Model
    reading: Reading
    clean: Prompts
    corrupt: Prompts
    truth: Truth
    example: Tensor  # (rows), which example a row is about, counted from 0
    step: Tensor  # (rows)
    weight: Tensor  # (rows); those of one example add up to 1
    kept: list[int]  # the batch's examples, by the number in `example`

    @classmethod
    def of(cls, model: Model, batch: Batch, reading: Reading, *, step: int | None = None) -> PromptPairs:
        """The rows that count under the reading's rule; with `step`, all rows of that step."""
        return cls.of_view(model, batch, reading, reading.view(model, batch), step=step)

    @classmethod
    def of_view(
        cls, model: Model, batch: Batch, reading: Reading, view: View, *, step: int | None = None
    ) -> PromptPairs:
        """The same from a given view. Making a view of a trajectory decodes, so it is made once for all steps."""
        weight = _weights(view, reading.rule) if step is None else (view.step == step).float()
        rows = weight.nonzero()[:, 0].cpu()
        kept, example = view.example[rows].unique(return_inverse=True)
        if not len(rows):
            raise ProbeError(
                f"step {step}",
                expected="a step at which an answer was still masked",
                found="none",
                remedy=f"The steps are {sorted(set(view.step.tolist()))}.",
            )
        shown = View(
            view.hidden[rows],
            view.example[rows],
            view.step[rows],
            view.ratio[rows],
            None if view.written is None else view.written[rows],
        )
        clean, corrupt = (reading.ask(model, batch, which, shown) for which in ("clean", "corrupt"))
        truth = _truth(batch.to(model.device), shown.example.to(model.device))
        return cls(model, reading, clean, corrupt, truth, example, shown.step, weight[rows], kept.tolist())

    def __len__(self) -> int:
        return len(self.example)

    def __getitem__(self, rows: slice | Tensor) -> PromptPairs:
        cut = {
            which: Prompts(asked.canvas[rows], asked.slots[rows], asked.view)
            for which, asked in (("clean", self.clean), ("corrupt", self.corrupt))
        }
        return replace(
            self,
            **cut,
            truth=self.truth[rows],
            example=self.example[rows],
            step=self.step[rows],
            weight=self.weight[rows],
        )

    @property
    def examples(self) -> int:
        return len(self.kept)

    @property
    def slots(self) -> int:
        return self.clean.canvas.slots

    def canvas(self, which: str = "clean") -> Canvas:
        return getattr(self, which).canvas

    def answer_logits(self, hidden: Tensor) -> Tensor:
        """The answers' logits (rows, vocabulary) in float32, without the mask, from the final norm's output.

        `hidden` may hold the rows repeatedly.
        """
        slots = self.clean.slots.to(hidden.device).repeat(len(hidden) // len(self), 1)
        read = hidden.gather(1, slots[..., None].expand(-1, -1, hidden.shape[-1]))[:, 0]
        return comparable(self.model.unembed(read).float(), self.model)

    def with_clean_logits(self, clean: Tensor) -> PromptPairs:
        """The same rows, with the model's logits on the clean prompts."""
        return replace(self, truth=replace(self.truth, clean=clean))


def _weights(view: View, rule: str) -> Tensor:
    """Each row's weight in its example's number: the rule applied to one-hot rows."""
    ones = torch.ones(len(view.example))
    if rule == "mean":
        return ones / torch.bincount(view.example)[view.example].float()
    kept = aggregated(view.step.float(), view, rule)  # the step that the rule keeps
    alike = view.step.float() == kept[view.example]
    return alike.float()


def _truth(batch: Batch, example: Tensor) -> Truth:
    return Truth(
        batch.target[example], batch.distractor[example], batch.choices, batch.right[example], batch.wrong[example]
    )
