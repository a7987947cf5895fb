"""FLUID: diffusion under strictly causal attention, by inserting blocks of masks after anchors of the AR text.

Attention stays causal. After an anchor at place i come k inserted tokens, copies o = 1..k with position i+o; copy o
predicts the text's token i+o+1, so the AR shift holds everywhere. Main tokens see main tokens only, causally; an
inserted token sees the main tokens up to its anchor and the copies of its own block up to itself. So a main token's
logits do not depend on insertions, and a block's do not depend on other blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from probe.paradigms.canvas import Canvas
from probe.paradigms.horizon import Horizon
from probe.paradigms.inserted import ANCHOR_RATE, LONGEST_BLOCK, insert
from probe.paradigms.paradigm import NO_LABEL, Paradigm, TrainingBatch, labels_read_at

RANDOM_RATE = 0.1  # the share of restored tokens that is replaced by a random one


@dataclass(frozen=True)
class Fluid(Paradigm):
    """Strictly causal diffusion with inserted mask blocks of up to `longest` tokens."""

    name: ClassVar[str] = "fluid"
    attaches: ClassVar = MappingProxyType({"horizon": lambda model: Horizon(model.d_model)})

    longest: int = LONGEST_BLOCK

    def training_batch(self, tokens: Tensor, generator: torch.Generator, given: Tensor | None = None) -> TrainingBatch:
        draw = {"generator": generator, "device": tokens.device}
        anchors = torch.rand(tokens.shape, **draw) < ANCHOR_RATE
        if given is not None:  # no anchors inside a prompt
            anchors = anchors & ~given.roll(-1, dims=1)
        lengths = torch.randint(1, self.longest + 1, tokens.shape, **draw)
        # Copies past the end of the text would predict nothing, and no other copy sees them: they are left out.
        to_the_end = tokens.shape[1] - 2 - torch.arange(tokens.shape[1], device=tokens.device)
        blank = insert(tokens, anchors, lengths.minimum(to_the_end.clamp(min=0)), self.given_mask())
        inserted = blank.block > 0
        # Label of a slot: the text's token after the slot's place.
        after = labels_read_at(tokens, torch.ones_like(tokens, dtype=torch.bool), shift=True)
        labels = after.gather(1, blank.places).masked_fill(blank.block < 0, NO_LABEL)
        # Restoration noise: one rate an anchor; a restored copy shows the true token of its place, or now and then a
        # wrong one.
        rate = torch.rand(tokens.shape, **draw).gather(1, (blank.block - 1).clamp(min=0))
        restored = inserted & (torch.rand(inserted.shape, **draw) < rate)
        wrong = torch.rand(inserted.shape, **draw) < RANDOM_RATE
        # Random tokens come from the batch's texts: a vocabulary also has the mask and other special tokens.
        ordinary = tokens.flatten()[torch.randint(0, tokens.numel(), inserted.shape, **draw)]
        shown = torch.where(wrong, ordinary, tokens.gather(1, blank.places))
        canvas = Canvas(torch.where(restored, shown, blank.tokens), blank.allowed, blank.places, blank.block)
        return TrainingBatch(canvas, labels, torch.ones_like(labels, dtype=torch.float32))
