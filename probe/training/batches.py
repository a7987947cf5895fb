"""The training batches of a recipe: the batch of any step, made from the recipe's seed and the step alone.

A batch does not depend on earlier ones, so an interrupted training resumes exactly, and processes on several GPUs draw
different batches by drawing different steps. Each batch is of one task, whose texts have equal length: there is no
padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from probe.errors import ProbeError, nearest
from probe.paradigms import Paradigm, TrainingBatch
from probe.paradigms.canvas import Canvas
from probe.paradigms.paradigm import NO_LABEL
from probe.paradigms.visibility import annealed
from probe.tasks import task
from probe.training.distillation import shares
from probe.training.recipe import Recipe
from probe.training.text import Pieces

SLOTS = 128  # with compiled code, canvases of different lengths are padded to multiples of this
EXAMPLES = 50_000  # at most per portion, drawn once; a long run sees each of them a few times


class TrainingBatches(Dataset):
    """`len` is the number of steps; item `i` is the batch of step `i`. `split` "test" draws from the texts' held-out
    pieces."""

    def __init__(
        self,
        recipe: Recipe,
        paradigm: Paradigm,
        tokenizer: PreTrainedTokenizerBase,
        mask_id: int,
        cache: Path | None = None,
        split: Literal["train", "test"] = "train",
    ):
        self._recipe, self._paradigm = recipe, replace(paradigm, mask_id=mask_id)
        self._texts: list[Tensor | Pieces] = []
        self._answers: list[Tensor] = []  # True at the positions of the answer, the same in every text of a portion
        wanted = min(EXAMPLES, recipe.steps * recipe.batch)
        for name, portion in recipe.portions:
            made = task(name, **portion.knobs).examples(tokenizer, wanted, seed=recipe.seed, split="train", fewer=True)
            answer = torch.zeros(made.clean.shape[1], dtype=torch.bool)
            for learnt in ("completion", *portion.answers):
                answer[_shared_positions(made.positions, learnt, name)] = True
            self._texts.append(made.clean)
            self._answers.append(answer)
        shares = [portion.weight for _, portion in recipe.portions]
        for plan in recipe.texts:
            self._texts.append(Pieces(plan, tokenizer, cache or Path(gettempdir()), split))
            self._answers.append(torch.zeros(plan.length, dtype=torch.bool))
            shares.append(plan.weight)
        self._shares = torch.tensor(shares, dtype=torch.float64)

    def __len__(self) -> int:
        return self._recipe.steps

    def texts(self, step: int) -> tuple[Tensor, Tensor, Tensor, torch.Generator]:
        """The texts of a step, a mask of the prompts that stay clean, a mask of the answers' positions (the same in
        all), and the generator for the rest of the batch."""
        recipe = self._recipe
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        which = int(torch.multinomial(self._shares, 1, generator=generator))
        texts, answer = self._texts[which], self._answers[which]
        rows = torch.randint(len(texts), (recipe.batch,), generator=generator)
        kept = torch.rand(recipe.batch, 1, generator=generator) < recipe.keep_question
        if answer.any():
            return texts[rows], kept & ~answer, answer, generator
        if not recipe.keep_question:  # running text has no question
            return texts[rows], torch.zeros(recipe.batch, len(answer), dtype=torch.bool), answer, generator
        cut = torch.randint(1, len(answer), (recipe.batch, 1), generator=generator)
        return texts[rows], kept & (torch.arange(len(answer)) < cut), answer, generator

    def __getitem__(self, step: int) -> TrainingBatch:
        recipe = self._recipe
        texts, given, answer, generator = self.texts(step)
        written = answer.nonzero()[:, 0] if answer.any() else None
        known = {"completion": written} if self._paradigm.inpaints else {"given": given}
        batch = self._paradigm.training_batch(texts, generator, **known)
        if recipe.anneal > 0:
            open_rate = min(1.0, (step + 1) / (recipe.anneal * recipe.steps))
            canvas = replace(
                batch.canvas, allowed=annealed(batch.canvas.allowed, batch.canvas.places, open_rate, generator)
            )
            batch = replace(batch, canvas=canvas)
        if recipe.distill > 0:
            mask_id, shift = self._paradigm.given_mask(), self._paradigm.shift
            soft = shares(batch.canvas, mask_id, recipe.distill, shift=shift)
            batch = replace(batch, text=texts, soft=soft)
        batch = self._weighted(batch, answer)
        return padded(batch, SLOTS) if recipe.int8 and batch.canvas.slots > texts.shape[1] else batch

    def _weighted(self, batch: TrainingBatch, answer: Tensor) -> TrainingBatch:
        """Weigh the answer's tokens more, since a prompt's words are mostly unpredictable."""
        length = len(answer)
        weight = torch.ones(length).masked_fill(answer, self._recipe.answer_weight)
        # The slot at position p predicts the token at p, or at p + 1 if the paradigm shifts.
        asked = (batch.canvas.places + int(self._paradigm.shift)).clamp(max=length - 1)
        return replace(batch, weights=batch.weights * weight[asked])


def padded(batch: TrainingBatch, multiple: int) -> TrainingBatch:
    """A batch padded to a multiple of this many slots. The added ones see only themselves, are seen by none and have no
    label."""
    more = -batch.canvas.slots % multiple
    canvas = batch.canvas
    n, slots = canvas.tokens.shape
    allowed = torch.zeros(n, slots + more, slots + more, dtype=torch.bool)
    allowed[:, :slots, :slots] = canvas.allowed
    allowed[:, range(slots, slots + more), range(slots, slots + more)] = True

    def longer(part: Tensor, fill: float) -> Tensor:
        return pad(part.expand(n, -1), (0, more), value=fill)

    return replace(
        batch,
        canvas=Canvas(longer(canvas.tokens, 0), allowed, longer(canvas.places, 0), longer(canvas.block, -1)),
        labels=longer(batch.labels, NO_LABEL),
        weights=longer(batch.weights, 0),
        soft=None if batch.soft is None else longer(batch.soft, 0),
    )


def _shared_positions(positions: Mapping[str, Tensor], asked: str, task_name: str) -> Tensor:
    """The positions of a name, which must be the same in every text of a portion."""
    places = positions.get(asked)
    if places is not None and (places == places[0]).all():
        return places[0]
    raise ProbeError(
        f"answers {asked!r} of the task {task_name!r} in a recipe",
        expected="named positions that are the same in all of its texts",
        found="none of that name" if places is None else "positions that differ from text to text",
        remedy=nearest(asked, positions),
    )
