"""A language small enough to be learnt in seconds, and models that know it in every paradigm.

A sentence is a subject, an adverb, a verb and an object. The verb agrees with the subject and the object with the
adverb, so that from the left half of these words can be known, and from both sides all of them. Interjections stand
anywhere between them, so that what agrees must be looked for, and the next sentence's subject is a distraction to
whoever sees it without having learnt to.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from probe.models.model import Model
from probe.paradigms import Paradigm
from tests.probe.tiny import backbone_of, write_stock

SPECIAL = ("[PAD]", "[MASK]", "[UNK]")
PAD_ID, MASK_ID = 0, 1
KINDS = ("subject", "adverb", "verb", "object")
CHOICES = 6
INTERJECTED = 0.15
INTERJECTIONS = ("oh", "well")
WORDS = (*(f"{kind}{number}" for kind in KINDS for number in range(CHOICES)), *INTERJECTIONS)
WINDOW = 24


def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"pad_token": "[PAD]", "mask_token": "[MASK]", "unk_token": "[UNK]"}
    return PreTrainedTokenizerFast(tokenizer_object=words, **special)


def text(rows: int, length: int, generator: torch.Generator) -> Tensor:
    """Token ids of running text (rows × length), which begins anywhere in a sentence."""
    choice = torch.randint(0, CHOICES, (rows, length, 2), generator=generator)
    words = (torch.cat([choice, choice], dim=-1) + CHOICES * torch.arange(len(KINDS))).flatten(1)
    interjected = torch.rand(rows, 2 * length, generator=generator) < INTERJECTED
    which = CHOICES * len(KINDS) + torch.randint(0, len(INTERJECTIONS), interjected.shape, generator=generator)
    running = torch.where(interjected, which, words.gather(1, (~interjected).long().cumsum(1)))
    start = int(torch.randint(0, len(KINDS), (), generator=generator))
    return running[:, start : start + length] + len(SPECIAL)


def sample(lines: int = 5) -> list[str]:
    ids = text(lines, 2 * WINDOW, torch.Generator().manual_seed(7))
    return [" ".join((*SPECIAL, *WORDS)[token] for token in row) for row in ids.tolist()]


def untaught(paradigm: Paradigm, seed: int = 0) -> Model:
    """A two-layer LLaMA of random weights."""
    backbone = backbone_of("llama", seed=seed, vocab_size=len(SPECIAL) + len(WORDS), hidden_size=48)
    return Model(backbone, paradigm, tokenizer(), name=f"toy {paradigm.name}")


def learn(paradigm: Paradigm, *, steps: int = 250, rows: int = 24, seed: int = 0) -> Model:
    """One that has learnt the language in a paradigm."""
    generator = torch.Generator().manual_seed(seed)
    model = untaught(paradigm, seed)
    with model.trainable():
        optimiser = torch.optim.AdamW(model.backbone.parameters(), lr=4e-3, weight_decay=0.01)
        for step in range(steps):
            batch = paradigm.training_batch(text(rows, WINDOW, generator), generator)
            loss = batch.loss(model.run(batch.canvas))
            optimiser.zero_grad()
            loss.backward()
            optimiser.param_groups[0]["lr"] = 4e-3 * (1 - step / steps)
            optimiser.step()
    return model


def memorise(model: Model, file: Path) -> None:
    """Write a model's weights, whole or not at all."""
    part = file.with_suffix(".part")
    save_file({name: value.clone() for name, value in model.backbone.state_dict().items()}, part)
    part.rename(file)


def remember(paradigm: Paradigm, file: Path) -> Model:
    """A model whose weights were memorised."""
    model = untaught(paradigm)
    model.backbone.load_state_dict(load_file(file))
    return model


def write(folder: Path, model: Model) -> Path:
    """The model's folder, with its tokenizer and what is declared of it."""
    write_stock(folder, model.backbone)
    model.tokenizer.save_pretrained(folder)
    manner = model.paradigm
    declared = {"name": folder.name, "paradigm": manner.name, "mask_id": manner.mask_id, "shift": manner.shift}
    own = {**declared, "attention": manner.attention, "sample": sample()}
    (folder / "twinprobe.json").write_text(json.dumps(own))
    return folder
