"""Stage II of FLUID: a horizon head, trained with the other weights frozen.

The head reads the last hidden state of an anchor and predicts how many tokens the finished model can draft from there
(see `probe.paradigms.horizon`). It is trained on the recipe's own texts; the Trainer sees only the head, so its
checkpoints have nothing else, and an interrupted stage resumes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainingArguments

from probe.paradigms.horizon import draw_anchors, horizon_loss, new_horizon

if TYPE_CHECKING:
    from probe.models.model import Model
    from probe.training.batches import TrainingBatches
    from probe.training.recipe import HorizonSettings


def learn_horizon(
    model: Model, plan: HorizonSettings, batches: TrainingBatches, arguments: TrainingArguments, left_off: str | None
) -> None:
    """Give a model a new horizon head and train it, resuming from a checkpoint if there is one."""
    head = new_horizon(model, arguments.seed).requires_grad_(True)
    anchored = _Anchored(batches, plan.steps)
    trainer = _HorizonTrainer(model=head, args=arguments, train_dataset=anchored, data_collator=_one)
    trainer.adapted, trainer.tau = model, plan.tau
    was_training = model.backbone.training
    model.backbone.eval()
    trainer.train(resume_from_checkpoint=left_off)
    model.backbone.train(was_training)
    head.requires_grad_(False)


class _Anchored(Dataset):
    """The texts of each step of stage I, and the anchors drawn on them."""

    def __init__(self, batches: TrainingBatches, steps: int):
        self._batches, self._steps = batches, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        texts, given, _, generator = self._batches.texts(step)
        return {"tokens": texts, "anchors": draw_anchors(texts, generator, given)}


def _one(items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return items[0]


class _HorizonTrainer(Trainer):
    """Trainer of the head alone."""

    adapted: Model
    tau: float

    def compute_loss(self, model, inputs, return_outputs: bool = False, **_unused: Any):
        loss = horizon_loss(self.adapted, inputs["tokens"], inputs["anchors"], self.tau)
        return (loss, {}) if return_outputs else loss

    def _get_train_sampler(self, *_unused: Any) -> torch.utils.data.Sampler:
        return SequentialSampler(self.train_dataset)  # type: ignore[arg-type]  # it has a length
