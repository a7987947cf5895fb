"""The training loop: transformers' Trainer (schedules, checkpoints, several GPUs, bf16) over our own batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import hypot, isfinite
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, TypedDict, Unpack

import torch
from torch import nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from probe.errors import ProbeError
from probe.models import windows
from probe.models.model import Model
from probe.paradigms import TrainingBatch
from probe.paradigms.paradigm import weighted_loss
from probe.training.checkpoints import last_complete
from probe.training.distillation import distilled_loss
from probe.training.lora import Adapters
from probe.training.optimizers import WEIGHT_DECAY, muon
from probe.training.recipe import Recipe

# A loss has diverged if its mean over WINDOW steps is RISE times the lowest such mean, AND_NATS nats above it, and
# ERRORS standard errors above it. The last is needed because each batch is of one task: by chance, one window has
# more of the hard tasks than another.
WINDOW, RISE, AND_NATS, ERRORS = 100, 1.5, 1.0, 6.0


def training_arguments(recipe: Recipe, checkpoints: Path, quiet: bool) -> TrainingArguments:
    """The Trainer's own settings for a recipe."""
    return TrainingArguments(
        output_dir=str(checkpoints),
        max_steps=recipe.steps,
        per_device_train_batch_size=1,  # one item is a whole batch
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=int(recipe.warmup * recipe.steps),
        weight_decay=WEIGHT_DECAY,
        seed=recipe.seed,
        save_steps=recipe.save_every,
        save_total_limit=1,
        logging_steps=max(1, recipe.steps // 100),
        bf16=torch.cuda.is_available(),
        include_num_input_tokens_seen="all",
        report_to=[],
        remove_unused_columns=False,
        disable_tqdm=quiet,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def without_lines(trainer: Trainer) -> None:
    """No line of losses in a quiet training, where transformers prints them in the place of its bar."""
    if trainer.args.disable_tqdm:
        trainer.remove_callback(PrinterCallback)


@contextmanager
def arithmetic(model: Model, recipe: Recipe) -> Iterator[None]:
    """Settings of the forward passes. On a CPU eager attention is much faster on short texts than SDPA."""
    backbone, precision = model.backbone, torch.get_float32_matmul_precision()
    backbone.config._attn_implementation = model.kernel(not torch.cuda.is_available())
    model.attention_override = backbone.config._attn_implementation
    if recipe.compile and recipe.int8:
        for (
            block
        ) in model.blocks:  # equal layers, so that compiling one compiles all; the whole would take half an hour
            block.compile(dynamic=False)
    elif recipe.compile:
        torch.set_float32_matmul_precision("medium")
        backbone.compile()
    try:
        yield
    finally:
        model.attention_override = None
        torch.set_float32_matmul_precision(precision)
        for module in (backbone, *model.blocks):
            module._compiled_call_impl = None


class TrainerParts(TypedDict):
    """The arguments of transformers' Trainer."""

    model: nn.Module
    """the module to optimise: the backbone, or its wrapper"""
    args: TrainingArguments
    train_dataset: Dataset
    data_collator: Callable[[list[TrainingBatch]], dict[str, Any]]
    callbacks: list[TrainerCallback]


class AdaptationTrainer(Trainer):
    """Trainer whose loss is that of a training batch, in the order of the steps."""

    def __init__(self, adapted: Model, recipe: Recipe, adapters: Adapters | None = None, **parts: Unpack[TrainerParts]):
        self.adapted, self.recipe, self.adapters = adapted, recipe, adapters
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._lowest, self._lowest_error = float("inf"), 0.0
        super().__init__(**parts)
        without_lines(self)

    def compute_loss(self, model, inputs, return_outputs: bool = False, **_unused):
        loss, outputs = self._loss(model, inputs)
        return (self._checked(loss), outputs) if return_outputs else self._checked(loss)

    def _loss(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """The loss, and the model's outputs where they were computed whole."""
        if "training_batch" in inputs:
            with _called_through(self.adapted, model):
                return self.adapted.paradigm.loss(self.adapted, inputs["training_batch"].to(self.adapted.device)), None
        labels, weights = inputs["labels"], inputs["weights"]
        text, soft = inputs.get("text"), inputs.get("soft")
        shown = {name: inputs[name] for name in ("input_ids", "attention_mask", "position_ids")}
        if self.adapters is not None and self.adapters.rounded:
            return self.adapters.loss(shown, labels, weights, text, soft), None
        outputs = model(**shown, use_cache=False)
        if self.adapters is not None and text is not None and soft is not None:
            teacher_logits = self.adapters.teacher_logits(text, shown["position_ids"])
            return distilled_loss(outputs.logits, labels, weights, soft, teacher_logits), outputs
        return weighted_loss(outputs.logits, labels, weights), outputs

    @torch.no_grad()
    def mean_loss(self, batches: list[TrainingBatch]) -> float:
        """The mean loss over some batches, against the text's own tokens, with the weights as they are now."""
        assert isinstance(self.model, nn.Module)
        total = 0.0
        for batch in batches:
            collated: dict[str, Any] = self.data_collator([batch])  # type: ignore[arg-type]  # ours takes batches
            inputs = {name: _to(value, self.adapted.device) for name, value in collated.items()}
            total += self._loss(self.model, {**inputs, "text": None, "soft": None})[0].item()
        return total / len(batches)

    def create_optimizer(self, *unused):
        if self.optimizer is None and self.recipe.optimizer == "muon":
            self.optimizer = muon(self.model, self.args.learning_rate)  # type: ignore[arg-type]  # a model is always set
        return super().create_optimizer(*unused)

    def _checked(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss. Training stops with an error if it is NaN or infinite, or if its mean over WINDOW steps has risen
        far above the lowest such mean."""
        value = loss.item()
        if not isfinite(value):
            raise self._divergence("a finite loss", f"{value}")
        self._recent.append(value)
        if len(self._recent) == WINDOW:
            mean, error = fmean(self._recent), stdev(self._recent) / WINDOW**0.5
            self._recent.clear()
            if mean > max(RISE * self._lowest, self._lowest + AND_NATS, self._beyond_chance(error)):
                raise self._divergence(f"a mean loss near {self._lowest:.3g}, its lowest so far", f"{mean:.3g}")
            if mean < self._lowest:
                self._lowest, self._lowest_error = mean, error
        return loss

    def _beyond_chance(self, error: float) -> float:
        """The mean loss above which a rise is not chance: ERRORS standard errors above the lowest mean."""
        return self._lowest + ERRORS * hypot(error, self._lowest_error)

    def _divergence(self, expected: str, found: str) -> ProbeError:
        step = self.state.global_step
        kept = last_complete(Path(self.args.output_dir)) or "none yet"  # type: ignore[arg-type]  # always set
        return ProbeError(
            f"training step {step}",
            expected=expected,
            found=f"{found} on the batch of seed {self.args.seed}, step {step}",
            remedy=f"Lower the learning rate or lengthen the warm-up; the last good checkpoint is {kept}.",
        )

    def _get_train_sampler(self, *_unused):
        return SequentialSampler(self.train_dataset)  # type: ignore[arg-type]  # the dataset has a length


def _to(value: object, device: torch.device) -> object:
    return value.to(device) if isinstance(value, torch.Tensor) else value


@contextmanager
def _called_through(adapted: Model, wrapper: Any) -> Iterator[None]:
    """A paradigm with its own loss calls the model itself, and must call the Trainer's wrapper of it."""
    adapted.wrapper = wrapper
    try:
        yield
    finally:
        adapted.wrapper = None


def collate_training_batch(items: list[TrainingBatch]) -> dict[str, Any]:
    """The training batch itself, for a paradigm whose loss needs more than the logits of one pass."""
    return {"training_batch": items[0], "input_ids": items[0].canvas.tokens}


def collate_tensors(items: list[TrainingBatch], layers: windows.Windows) -> dict[str, Any]:
    """One training batch as the tensors that a backbone with these layers takes; the Trainer moves them to the
    device."""
    (batch,) = items
    canvas = batch.canvas
    return {
        "input_ids": canvas.tokens,
        "attention_mask": windows.masks(canvas, layers),
        "position_ids": canvas.places,
        "labels": batch.labels,
        "weights": batch.weights,
        **{name: part for name in ("text", "soft") if (part := getattr(batch, name)) is not None},
    }
