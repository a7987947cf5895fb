"""Stage II of FLUID: a horizon head, trained with the other weights frozen.

The head reads the last hidden state of an anchor and predicts how many tokens the finished model can draft from there
(see `probe.paradigms.horizon`). It is trained on the recipe's own texts; the Trainer sees only the head, so its
checkpoints have nothing else, and an interrupted stage resumes.

With `own_texts` in the recipe it is fitted on what the model itself writes, until it stops improving (see
`probe.training.horizon_fit`). That takes a minute or two, and is done again after an interruption.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainingArguments

from probe.paradigms.horizon import draw_anchors, horizon_loss, new_horizon
from probe.tasks import task
from probe.training.horizon_fit import OfTask, OfText, Source, fitted, own_text, target_of
from probe.training.trainer import without_lines

if TYPE_CHECKING:
    from probe.models.model import Model
    from probe.training.batches import TrainingBatches
    from probe.training.recipe import HorizonSettings, Recipe


def learn_horizon(
    model: Model, plan: HorizonSettings, batches: TrainingBatches, arguments: TrainingArguments, left_off: str | None
) -> None:
    """Give a model a new horizon head and train it, resuming from a checkpoint if there is one."""
    head = new_horizon(model, arguments.seed).requires_grad_(True)
    anchored = _Anchored(batches, plan.steps)
    trainer = _HorizonTrainer(model=head, args=arguments, train_dataset=anchored, data_collator=_one)
    without_lines(trainer)
    trainer.adapted, trainer.tau = model, plan.tau
    was_training = model.backbone.training
    model.backbone.eval()
    trainer.train(resume_from_checkpoint=left_off)
    model.backbone.train(was_training)
    head.requires_grad_(False)


def fit_horizon(model: Model, recipe: Recipe, plan: HorizonSettings) -> None:
    """Give a model a horizon head, fitted on its own continuations of the recipe's tasks and texts."""
    sources: list[Source] = [OfTask(task(name, **portion.knobs)) for name, portion in recipe.portions]
    sources += [OfText(text) for text in recipe.texts]
    with _as_in_decoding(model):
        seen = own_text(model, sources, plan.own_texts, recipe.seed)
    model.attachments["horizon"], _ = fitted(model, seen, target_of(plan), seed=recipe.seed)


@contextmanager
def _as_in_decoding(model: Model) -> Iterator[None]:
    """Without dropout, and with the arithmetic of decoding instead of training's."""
    training, override = model.backbone.training, model.attention_override
    precision = torch.get_float32_matmul_precision()
    model.backbone.eval()
    model.attention_override = None
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        model.attention_override = override
        model.backbone.train(training)


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
