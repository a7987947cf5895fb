"""Adapting: run a recipe, and leave a folder that `probe.load` opens.

The loop is transformers' Trainer (schedules, checkpoints, several GPUs, bf16); what is ours is only the loss, which any
paradigm states as a `Lesson`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml
from torch.utils.data import SequentialSampler
from transformers import CONFIG_MAPPING, Trainer, TrainerCallback, TrainingArguments

from probe.errors import ProbeError
from probe.models.attachments import save_attachments
from probe.models.catalog import OWN_ENTRY, Entry
from probe.models.layout import LAYOUTS, stock_class
from probe.models.loading import load
from probe.models.model import Model
from probe.paradigms import Lesson, named, visibility
from probe.paradigms.paradigm import weighted_loss
from probe.tasks import task
from probe.training.average import Average
from probe.training.horizon import learn_horizon
from probe.training.joined import joined, stock_state
from probe.training.lessons import Lessons
from probe.training.optimizers import WEIGHT_DECAY, muon
from probe.training.recipe import Foresight, Recipe, read_recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CHECKPOINTS, SNAPSHOTS, RECIPE = "checkpoints", "snapshots", "recipe.yaml"


def adapt(recipe: Recipe, folder: str | Path, *, quiet: bool = False) -> Path:
    """Make the recipe's model in `folder`, going on from its last checkpoint if there is one; what is made is kept."""
    folder = Path(folder)
    _refuse_another_recipe(recipe, folder)
    if (folder / OWN_ENTRY).is_file() and not (folder / CHECKPOINTS).exists():
        return folder
    torch.manual_seed(recipe.seed)
    model = _beginning(recipe)
    lessons = Lessons(recipe, model.paradigm, model.tokenizer, model.paradigm.given_mask())
    with joined(model), model.trainable(), _arithmetic(model, recipe):
        average = Average(model.backbone, recipe.average, folder / CHECKPOINTS) if recipe.average else None
        trainer = _Teacher(
            model=model.backbone,
            args=_arguments(recipe, folder, quiet),
            train_dataset=lessons,
            data_collator=_whole if model.paradigm.owns_loss else _as_is,
            callbacks=[*([average] if average else []), _Snapshots(model, recipe, folder, average)],
        )
        trainer.taught, trainer.recipe = model, recipe
        trainer.train(resume_from_checkpoint=_last_whole_checkpoint(folder / CHECKPOINTS))
        with average.in_place() if average else nullcontext():
            if recipe.horizon is not None:
                _look_ahead(model, recipe, recipe.horizon, lessons, folder / CHECKPOINTS, quiet)
            _save(model, recipe, folder)
    shutil.rmtree(folder / CHECKPOINTS)
    return folder


def _look_ahead(
    model: Model, recipe: Recipe, plan: Foresight, lessons: Lessons, checkpoints: Path, quiet: bool
) -> None:
    """Stage II, in a folder of its own among the checkpoints, from where it was left off."""
    stage = recipe.model_copy(update=plan.model_dump(include={"steps", "learning_rate"}))
    arguments = _arguments(stage, checkpoints / "horizon", quiet)
    learn_horizon(model, plan, lessons, arguments, _last_whole_checkpoint(Path(str(arguments.output_dir))))


@contextmanager
def _arithmetic(model: Model, recipe: Recipe) -> Iterator[None]:
    """How the passes are computed. On a CPU the open form of attention is far quicker on short texts than SDPA."""
    backbone, precision = model.backbone, torch.get_float32_matmul_precision()
    backbone.config._attn_implementation = "sdpa" if torch.cuda.is_available() else "eager"
    if recipe.compile:
        torch.set_float32_matmul_precision("medium")
        backbone.compile()
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        backbone._compiled_call_impl = None


def _refuse_another_recipe(recipe: Recipe, folder: Path) -> None:
    """A folder belongs to one recipe, which stands in it; going on with another would make neither of the two."""
    plain, file = recipe.model_dump(exclude_none=True), folder / RECIPE
    folder.mkdir(parents=True, exist_ok=True)
    if not file.is_file():
        file.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), "utf-8")
    elif (begun := read_recipe(file)).model_dump_json() != recipe.model_dump_json():  # the order of tasks counts
        there = begun.model_dump(exclude_none=True)
        differ = sorted(name for name in {*plain, *there} if plain.get(name) != there.get(name))
        raise ProbeError(
            f"folder {folder}",
            expected="an empty folder, or one begun with this very recipe",
            found="one begun with another " + ", ".join(differ),
            remedy="Choose another folder, or delete this one.",
        )


def _last_whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end. The Trainer writes its state last; one without it was cut off,
    and resuming from that would go on with a fresh optimizer, without a word."""
    whole = [file.parent for file in folder.glob("checkpoint-*/trainer_state.json") if _is_json(file)]
    newest = max(whole, key=lambda checkpoint: int(checkpoint.name.rpartition("-")[2]), default=None)
    return None if newest is None else str(newest)


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text("utf-8"))
    except ValueError:
        return False
    return True


def _beginning(recipe: Recipe) -> Model:
    """The model as training finds it: the weights it starts from, to be read in the recipe's paradigm."""
    if recipe.start is not None:
        start = load(recipe.start, selftest="off")
        tokenizer, backbone, attachments = start.tokenizer, start.backbone, start.attachments
    else:
        (tokenizer, backbone), attachments = _from_nothing(recipe), {}
    manner = recipe.manner()
    if recipe.teacher is not None:
        manner["teacher"] = load(recipe.teacher, selftest="off")
    paradigm = named(recipe.paradigm)(mask_id=_mask_of(tokenizer, recipe), **manner)
    model = Model(backbone, paradigm, tokenizer, name=recipe.name)
    for name, kind in paradigm.attaches.items():
        if name in attachments:
            model.attachments[name] = attachments[name]
        elif name in paradigm.needs:
            model.attachments[name] = kind(model).to(model.device)
    return model


def _from_nothing(recipe: Recipe) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    from probe.tasks import vocabulary

    assert recipe.shape is not None
    tokenizer = vocabulary.shipped()
    fields = {
        **recipe.shape.config_fields(),
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": None,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = CONFIG_MAPPING[recipe.shape.model_type](**fields)
    return tokenizer, stock_class(LAYOUTS[recipe.shape.model_type])(config)


def _mask_of(tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> int:
    mask = tokenizer.mask_token_id
    if isinstance(mask, int):
        return mask
    raise ProbeError(
        f"recipe {recipe.name!r}",
        expected="a start whose tokenizer has a mask token",
        found="a tokenizer without one",
        remedy="Give its tokenizer_config.json a mask_token that is a row of the embedding.",
    )


def _arguments(recipe: Recipe, folder: Path, quiet: bool) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder / CHECKPOINTS),
        max_steps=recipe.steps,
        per_device_train_batch_size=1,  # a lesson is a whole batch
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=int(recipe.warmup * recipe.steps),
        weight_decay=WEIGHT_DECAY,
        seed=recipe.seed,
        save_steps=recipe.save_every,
        save_total_limit=1,
        logging_steps=max(1, recipe.steps // 20),
        bf16=torch.cuda.is_available(),
        report_to=[],
        remove_unused_columns=False,
        disable_tqdm=quiet,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _whole(items: list[Lesson]) -> dict[str, Any]:
    """The lesson itself, for a paradigm whose loss is more than the logits of what is shown."""
    return {"lesson": items[0]}


def _as_is(items: list[Lesson]) -> dict[str, Any]:
    """The Trainer's batch is one lesson, taken apart so that it can be moved to the device."""
    (lesson,) = items
    canvas = lesson.canvas
    return {
        "input_ids": canvas.tokens,
        "attention_mask": visibility.additive(canvas.allowed),
        "position_ids": canvas.places,
        "labels": lesson.labels,
        "weights": lesson.weights,
    }


class _Teacher(Trainer):
    """Trainer whose loss is a lesson's, and whose order of steps is the lessons' own."""

    taught: Model
    recipe: Recipe

    def compute_loss(self, model, inputs, return_outputs: bool = False, **_unused):  # type: ignore[override]
        if "lesson" in inputs:
            loss = self.taught.paradigm.loss(self.taught, inputs["lesson"].to(self.taught.device))
            return self._finite(loss)
        labels, weights = inputs["labels"], inputs["weights"]
        shown = {name: inputs[name] for name in ("input_ids", "attention_mask", "position_ids")}
        outputs = model(**shown, use_cache=False)
        loss = self._finite(weighted_loss(outputs.logits, labels, weights))
        return (loss, outputs) if return_outputs else loss

    def create_optimizer(self, *unused):  # type: ignore[override]
        if self.optimizer is None and self.recipe.optimizer == "muon":
            self.optimizer = muon(self.model, self.args.learning_rate)  # type: ignore[arg-type]  # a model is always set
        return super().create_optimizer(*unused)

    def _finite(self, loss: torch.Tensor) -> torch.Tensor:
        if not torch.isfinite(loss):
            raise self._stopped(loss)
        return loss

    def _stopped(self, loss: torch.Tensor) -> ProbeError:
        step = self.state.global_step
        kept = _last_whole_checkpoint(Path(self.args.output_dir)) or "none yet"  # type: ignore[arg-type]  # always set
        return ProbeError(
            f"training step {step}",
            expected="a finite loss",
            found=f"{loss.item()} on the lesson of seed {self.args.seed}, step {step}",
            remedy=f"Lower the learning rate or lengthen the warm-up; the last good checkpoint is {kept}.",
        )

    def _get_train_sampler(self, *_unused):
        return SequentialSampler(self.train_dataset)  # type: ignore[arg-type]  # Lessons has a length


class _Snapshots(TrainerCallback):
    """Keeps the model after the steps that the recipe names, each in a folder that loads like the last one."""

    def __init__(self, model: Model, recipe: Recipe, folder: Path, average: Average | None = None):
        self.model, self.recipe, self.folder, self.average = model, recipe, folder, average

    def on_step_end(self, args, state, control, **_unused) -> None:  # type: ignore[override]
        if state.global_step in self.recipe.snapshots and state.is_world_process_zero:
            with self.average.in_place() if self.average else nullcontext():
                _save(self.model, self.recipe, self.folder / SNAPSHOTS / f"step-{state.global_step}")


def _save(model: Model, recipe: Recipe, folder: Path) -> None:
    halves = {name: value.half() for name, value in stock_state(model).items()}
    model.backbone.save_pretrained(folder, state_dict=halves)
    save_attachments(model, folder)
    (folder / "generation_config.json").unlink(missing_ok=True)  # nothing here generates through transformers
    model.tokenizer.save_pretrained(folder)
    samples = [text for name in recipe.tasks for text in task(name).examples(model, 24, seed=1).texts(model.tokenizer)]
    entry = Entry(  # type: ignore[call-arg]  # what is left out has a default
        name=recipe.name,
        paradigm=recipe.paradigm,
        ar=recipe.ar or recipe.start if recipe.paradigm != "autoregressive" else recipe.ar,
        controls=recipe.controls,
        mask_id=model.mask_id,
        shift=model.shift,
        attention=recipe.attention,
        clock=recipe.clock,
        note=recipe.note,
        sample=tuple(samples),
    )
    own = entry.model_dump(mode="json", exclude_defaults=True)
    (folder / OWN_ENTRY).write_text(json.dumps(own, indent=1, ensure_ascii=False) + "\n", "utf-8")
