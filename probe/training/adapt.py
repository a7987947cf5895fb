"""Adapting: run a recipe, and leave a folder that `probe.load` opens.

    initial model ─► training batches ─► AdaptationTrainer ─► curve, snapshots ─► the folder

The folder's checkpoints have everything that a run needs to resume; the same call again continues there, and ends with
the weights of an uninterrupted run. On several GPUs the same recipe runs under `accelerate launch` (with FSDP if
configured; flows without): the batches depend only on the step, whichever process draws them.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path

import torch
import yaml
from accelerate import PartialState

from probe.errors import ProbeError
from probe.models.backbone import no_messages
from probe.models.catalog import OWN_ENTRY
from probe.models.model import Model
from probe.paradigms import TrainingBatch
from probe.progress import silenced
from probe.training.batches import TrainingBatches
from probe.training.checkpoints import STATE, last_complete
from probe.training.curve import Examiner, write_curve
from probe.training.ema import Ema
from probe.training.horizon_stage import fit_horizon, learn_horizon
from probe.training.initial_model import initial_model
from probe.training.kept import BATCHES, refuse_another_model
from probe.training.lora import Adapters
from probe.training.recipe import HorizonSettings, Recipe, read_recipe
from probe.training.saving import CHECKPOINTS, SNAPSHOTS, Snapshots, save
from probe.training.trainable_attachments import trainable_attachments
from probe.training.trainer import (
    AdaptationTrainer,
    arithmetic,
    collate_tensors,
    collate_training_batch,
    training_arguments,
)

RECIPE = "recipe.yaml"
HELD_OUT_BATCHES = 8  # of an evaluation on held-out text


def adapt(recipe: Recipe, folder: str | Path, *, quiet: bool = False) -> Path:
    """Make the recipe's model in `folder`, resuming from its last checkpoint if there is one; a finished one is
    kept. With `quiet` nothing is printed, neither a bar nor the losses: `read_curve(folder)` has them afterwards."""
    with ExitStack() as around:
        if quiet:
            around.enter_context(no_messages())
            around.enter_context(silenced())
        return _adapted(recipe, Path(folder), quiet)


def _adapted(recipe: Recipe, folder: Path, quiet: bool) -> Path:
    processes = PartialState()
    with processes.main_process_first():
        _refuse_another_recipe(recipe, folder)
    if (folder / OWN_ENTRY).is_file() and not (folder / CHECKPOINTS).exists():
        return folder
    torch.manual_seed(recipe.seed)
    model = initial_model(recipe)
    with processes.main_process_first():  # the first process tokenizes the text, and the others read it
        batches = TrainingBatches(
            recipe, model.paradigm, model.tokenizer, model.paradigm.given_mask(), folder / CHECKPOINTS
        )
    with trainable_attachments(model), model.trainable(), arithmetic(model, recipe):
        adapters = Adapters(model, recipe.lora) if recipe.lora else None
        ema = Ema(model.backbone, recipe.average, folder / CHECKPOINTS) if recipe.average else None
        if adapters and recipe.int8:
            adapters.round(recipe.compile)
        trainer = AdaptationTrainer(
            model,
            recipe,
            adapters,
            model=adapters.wrapped if adapters else model.backbone,
            args=training_arguments(recipe, folder / CHECKPOINTS, quiet),
            train_dataset=batches,
            data_collator=collate_training_batch
            if model.paradigm.owns_loss
            else partial(collate_tensors, layers=model.windows),
            callbacks=[
                *([ema] if ema else []),
                Snapshots(model, recipe, folder, ema, adapters),
            ],
        )
        _refuse_shards(model, trainer)
        if recipe.examine_every:
            held_out = _held_out(recipe, model, folder / CHECKPOINTS)
            trainer.add_callback(
                Examiner(model, recipe, ema, partial(trainer.mean_loss, held_out) if held_out else None)
            )
        trainer.train(resume_from_checkpoint=last_complete(folder / CHECKPOINTS))
        own = adapters.by_themselves() if adapters and not adapters.settings.fold else None
        last = [batches[step] for step in range(max(0, recipe.steps - BATCHES), recipe.steps)] if own else []
        trained = trainer.mean_loss(last) if last else 0.0
        if adapters:
            adapters.merge()
        with ema.in_place() if ema else nullcontext():
            if recipe.horizon is not None:
                _train_horizon(model, recipe, recipe.horizon, batches, folder / CHECKPOINTS, quiet)
            if processes.is_main_process:
                write_curve(trainer.state.log_history, model, folder)
                save(model, recipe, folder, folder / CHECKPOINTS, adapters=own)
                if last:
                    refuse_another_model(folder, trained, last)
    processes.wait_for_everyone()
    if processes.is_main_process:
        shutil.rmtree(folder / CHECKPOINTS)
    return folder


def _held_out(recipe: Recipe, model: Model, cache: Path) -> list[TrainingBatch]:
    """Batches of text that is never trained on, masked as the last steps' batches are; none for a recipe of tasks,
    which are evaluated by their answers."""
    if not recipe.texts:
        return []
    only_text = recipe.model_copy(update={"tasks": {}})
    batches = TrainingBatches(
        only_text, model.paradigm, model.tokenizer, model.paradigm.given_mask(), cache, split="test"
    )
    return [batches[step] for step in range(max(0, recipe.steps - HELD_OUT_BATCHES), recipe.steps)]


def as_it_is(recipe: Recipe, folder: str | Path) -> Path:
    """Write a training's newest checkpoint as a snapshot that loads; the training may continue meanwhile. Only for
    trainings with `fold: false`."""
    folder = Path(folder)
    newest = last_complete(folder / CHECKPOINTS)
    if newest is None or recipe.lora is None or recipe.lora.fold:
        raise ProbeError(
            f"training {folder}",
            expected="a checkpoint of adapters that are kept by themselves ('fold: false')",
            found="none yet" if newest is None else "a training of another kind",
            remedy="Wait for the first checkpoint, or name steps under 'snapshots'.",
        )
    model = initial_model(recipe)
    adapters = Adapters(model, recipe.lora)
    adapters.read(Path(newest))
    step = int(newest.rpartition("-")[2])
    own = folder / SNAPSHOTS / f"step-{step}"
    save(model, recipe, own, folder / CHECKPOINTS, adapters=adapters.by_themselves())
    history = STATE.object(Path(newest) / "trainer_state.json").get("log_history", [])
    write_curve(history, model, own)
    return own


def _refuse_shards(model: Model, trainer: AdaptationTrainer) -> None:
    """A flow reads its embedding outside of the backbone's call, where FSDP has it sharded."""
    if model.paradigm.owns_loss and trainer.is_fsdp_enabled:
        raise ProbeError(
            f"a {model.paradigm.name} trained under FSDP",
            expected="whole weights in each process (DDP), as with `accelerate launch --multi_gpu`",
            found="FSDP, which shards them",
            remedy="Launch it without FSDP.",
        )


def _train_horizon(
    model: Model, recipe: Recipe, plan: HorizonSettings, batches: TrainingBatches, checkpoints: Path, quiet: bool
) -> None:
    """Stage II, in a folder of its own among the checkpoints, resuming if it was interrupted; or on the model's own
    texts."""
    if plan.own_texts:
        return fit_horizon(model, recipe, plan)
    stage = recipe.model_copy(update=plan.model_dump(include={"steps", "learning_rate"}))
    own = checkpoints / "horizon"
    learn_horizon(model, plan, batches, training_arguments(stage, own, quiet), last_complete(own))


def _refuse_another_recipe(recipe: Recipe, folder: Path) -> None:
    """A folder belongs to one recipe, which is saved in it; another recipe is refused."""
    plain, file = recipe.model_dump(exclude_none=True), folder / RECIPE
    folder.mkdir(parents=True, exist_ok=True)
    if not file.is_file():
        file.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), "utf-8")
    elif (begun := read_recipe(file)).model_dump_json() != recipe.model_dump_json():  # the order of tasks counts
        there = begun.model_dump(exclude_none=True)
        differ = sorted(name for name in {*plain, *there} if plain.get(name) != there.get(name))
        raise ProbeError(
            f"folder {folder}",
            expected="an empty folder, or one started with the same recipe",
            found="one started with another " + ", ".join(differ),
            remedy="Choose another folder, or delete this one.",
        )
