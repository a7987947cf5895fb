"""Who is asked, and what: tiny random models of every way of writing, and a few examples of every task."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from probe.models.model import Model
from probe.paradigms import Autoregressive, Block, Fluid, Masked, Paradigm
from probe.readings import AR, OneMask, Prefix, Ratio, Reading, TrajectoryReading
from probe.tasks import TASKS, Batch, task, vocabulary
from tests.probe.tiny import backbone_of

WORDS = len(vocabulary.shipped())
MASK = vocabulary.shipped().mask_token_id

PARADIGMS: dict[str, Paradigm] = {
    "ar": Autoregressive(mask_id=MASK),
    "ar without a mask": Autoregressive(),
    "masked": Masked(mask_id=MASK),
    "masked, no shift": Masked(mask_id=MASK, shift=False),
    "block": Block(mask_id=MASK),
    "block, no shift": Block(mask_id=MASK, shift=False),
    "masks last": Masked(mask_id=MASK, shift=False, clean_shift=True, attention="masks_last"),
    "fluid": Fluid(mask_id=MASK),
}
READINGS: dict[str, Reading] = {
    "ar": AR(),
    "prefix": Prefix(),
    "one_mask": OneMask(),
    "ratio": Ratio(rate=0.5, draws=2),
    "ratio over the completion": Ratio(rate=0.5, draws=2, over="completion"),
    "trajectory": TrajectoryReading(),
}
QUESTIONS = (*TASKS, "infilling in place")


@cache
def model_of(kind: str) -> Model:
    return Model(backbone_of("llama", vocab_size=WORDS), PARADIGMS[kind], vocabulary.shipped(), name=kind)


@cache
def batch_of(question: str, n: int = 3) -> Batch:
    made = task("infilling", in_place=True) if question == "infilling in place" else task(question)
    return made.examples(vocabulary.shipped(), n, seed=1)


def askable(kind: str, reading: str, question: str) -> bool:
    """Whether a model can be asked so: what is left out here is refused, and tested to be."""
    if kind == "ar without a mask" and reading.startswith("ratio"):
        return False
    return reading != "trajectory" or question != "infilling in place"


def exchanged(batch: Batch, places: Tensor) -> Batch:
    """The batch with another token at `places` (n × length, bool), in clean and corrupt alike."""

    def other(tokens: Tensor) -> Tensor:
        # Past the special tokens and the digits, so that no mask comes about; one on, so that it does differ.
        return torch.where(places, 20 + (tokens + 1) % (WORDS - 20), tokens)

    return replace(batch, clean=other(batch.clean), corrupt=other(batch.corrupt))


def before_answer(batch: Batch) -> Tensor:
    return torch.arange(batch.clean.shape[1]) < batch.positions["answer"]
