"""Saving a training: the finished model and its snapshots, each a folder that `probe.load` opens."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, TrainerCallback

from probe.models.adapters import save_adapters
from probe.models.catalog import OWN_ENTRY, AdaptersOf, Entry
from probe.models.model import Model
from probe.paradigms.attachments import save_attachments
from probe.tasks import task
from probe.training.ema import Ema
from probe.training.lora import Adapters
from probe.training.recipe import Recipe
from probe.training.text import Pieces
from probe.training.trainable_attachments import stock_state

CHECKPOINTS, SNAPSHOTS = "checkpoints", "snapshots"
SAMPLED = 24  # texts of each kind


def save(
    model: Model,
    recipe: Recipe,
    folder: Path,
    cache: Path,
    state: dict[str, Tensor] | None = None,
    adapters: dict[str, Tensor] | None = None,
) -> None:
    """Write the model in half precision, with its declaration; `state` replaces its own weights, `adapters` are saved
    instead of weights, and `cache` has the tokenized text."""
    save_attachments(model, folder)
    if adapters is not None:
        save_adapters(adapters, folder)
    else:
        halves = {name: value.half() for name, value in (state or stock_state(model)).items()}
        model.backbone.save_pretrained(folder, state_dict=halves)
        (folder / "generation_config.json").unlink(missing_ok=True)  # nothing here generates through transformers
        model.tokenizer.save_pretrained(folder)
    entry = Entry(  # type: ignore[call-arg]  # what is left out has a default
        name=recipe.name,
        paradigm=recipe.paradigm,
        ar=recipe.ar or (recipe.start if model.paradigm.diffuses else None),
        controls=recipe.controls,
        mask_id=model.mask_id,
        shift=model.shift,
        attention=recipe.attention,
        clock=recipe.clock,
        settings=recipe.settings,
        adapters=AdaptersOf(rank=lora.rank, alpha=lora.alpha) if (lora := recipe.lora) and not lora.fold else None,
        base=recipe.start if adapters is not None else None,
        note=recipe.note,
        sample=tuple(_sample(recipe, model.tokenizer, cache)),
    )
    own = entry.model_dump(mode="json", exclude_defaults=True)
    (folder / OWN_ENTRY).write_text(json.dumps(own, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _sample(recipe: Recipe, words: PreTrainedTokenizerBase, cache: Path) -> list[str]:
    """Some texts like those of the training."""
    texts = [text for name in recipe.tasks for text in task(name).examples(words, SAMPLED, seed=1).texts(words)]
    for plan in recipe.texts:
        held_out = Pieces(plan, words, cache, "test")
        some = held_out[torch.arange(min(SAMPLED, len(held_out)))]
        texts += words.batch_decode(some, skip_special_tokens=True)
    return texts


class Snapshots(TrainerCallback):
    """Saves the model after the steps that the recipe names, each in a folder that loads like the final one."""

    def __init__(
        self,
        model: Model,
        recipe: Recipe,
        folder: Path,
        ema: Ema | None = None,
        adapters: Adapters | None = None,
    ):
        self.model, self.recipe, self.folder, self.ema, self.adapters = model, recipe, folder, ema, adapters

    def on_step_end(self, args, state, control, **_unused) -> None:
        if state.global_step in self.recipe.snapshots and state.is_world_process_zero:
            with self.ema.in_place() if self.ema else nullcontext():
                apart = self.adapters is not None and not self.adapters.settings.fold
                by_themselves = self.adapters.by_themselves() if self.adapters and apart else None
                state_of = self.adapters.folded() if self.adapters and not apart else None
                own = self.folder / SNAPSHOTS / f"step-{state.global_step}"
                save(self.model, self.recipe, own, self.folder / CHECKPOINTS, state_of, by_themselves)
