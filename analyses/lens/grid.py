"""The lens grid: what each layer would answer at each slot of one example, for a model or for a pair side by side.

    lens.grid(pair, batch, example=3)                   # the logit lens, as a view
    lens.grid(pair, batch, tuned=lenses)                # through the tuned lens
    lens.grid(pair, batch, reading="trajectory")        # with a slider over the steps of each model's own decoding

A cell is a distribution over tokens; its ten best are kept. The probabilities of the right answer and the distractor
(and of `pins`) are kept in every cell, so that the two models can be compared cell by cell. One forward pass per model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from analyses.interventions.reach import cone
from analyses.lens.tuned import TunedLens
from analyses.lens.unembedding import Unembedding
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading, named
from probe.readings.by_role import reading_for, roles
from probe.tasks import Batch
from probe.tracing import edit, record
from probe.tracing.edits import Edit, Skip
from probe.views import View
from probe.views.words import MASK, Words

BEST = 10
SHOWN = ("model", "ar", "diffusion")  # roles


def grid(
    models: Model | Pair,
    batch: Batch,
    example: int = 0,
    *,
    reading: str | Reading = "prefix",
    tuned: Mapping[str, TunedLens] | None = None,
    pins: Iterable[int] = (),
    controls: bool = False,
) -> View:
    """The view of one example. `pins` are token ids whose probability is kept in every cell, besides the answer's;
    `controls` adds a pair's controls below the twins."""
    asked = roles(models, named(reading))
    shown = [
        _Shown(model.name, role, model, how, (tuned or {}).get(role))
        for role, (model, how) in asked.items()
        if controls or role in SHOWN
    ]
    title = f"What each layer would answer: {batch.task}, example {example}"
    about = f"{'tuned' if tuned else 'logit'} lens, reading {named(reading)}"
    vocabulary = models.vocabulary if isinstance(models, Pair) else None
    return _view(shown, batch[example : example + 1], (title, about), vocabulary, pins)


@dataclass(frozen=True, eq=False)
class Beside:
    """The source of a patch: a model, on the clean prompt or the corrupt one."""

    model: Model
    which: str = "clean"

    def __str__(self) -> str:
        return f"{self.model.name} on the {self.which} prompt"


def before_and_after(
    model: Model,
    batch: Batch,
    example: int,
    edits: Sequence[Edit | Skip],
    *,
    reading: str | Reading = "prefix",
    beside: Beside | None = None,
    cell: tuple[int, int | None] | None = None,
) -> View:
    """One model on one example, without and with edits, and the change in every cell.

    The edits hold values for one example, or one value for all. `cell`, the (row, slot) of the grid that they change
    (slot None: every one), marks the cells that the change can reach; `beside` puts the source's grid in front.
    """
    how = reading_for(model, reading)
    one = batch[example : example + 1]
    before = _Shown(model.name, "model", model, how)
    after = _Shown(f"{model.name}, changed", "changed", model, how, edits=tuple(edits))
    shown = [before, after]
    if beside is not None:
        own = reading_for(beside.model, reading)
        shown.insert(0, _Shown(str(beside), "beside", beside.model, own, which=beside.which))
    title = f"Effect of the change: {batch.task}, example {example}"
    vocabulary = None if beside is None else min(model.vocabulary, beside.model.vocabulary)
    view = _view(shown, one, (title, f"logit lens, reading {how}"), vocabulary, ())
    last = len(shown) - 1
    more: dict[str, Any] = {
        "drawn": list(range(last)),
        "difference": [last - 1, last],
        "difference_name": f"change in {model.name}",
        "swap": last,
    }
    if cell is not None:
        row, slot = cell
        canvas = how.ask(model, one).canvas
        reached = cone(model, canvas, row=row, slots=None if slot is None else [slot])
        more |= {"changed": [[row, slot]], "cone": [[[int(felt) for felt in layer] for layer in reached]]}
    return View("lens_grid", {**view.data, **more})


@dataclass(frozen=True, eq=False)
class _Shown:
    """One of the grids: a model, its reading, its lens, and its edits."""

    name: str
    role: str
    model: Model
    reading: Reading
    tuned: TunedLens | None = None
    edits: tuple[Edit | Skip, ...] = ()
    which: str = "clean"


def _view(
    shown: Sequence[_Shown], one: Batch, words_above: tuple[str, str], vocabulary: int | None, pins: Iterable[int]
) -> View:
    first = shown[0].model
    words = Words(first.tokenizer if first.has_tokenizer else None)
    named_tokens = {"answer": int(one.target[0]), "distractor": int(one.distractor[0])}
    pinned = [*dict.fromkeys([*named_tokens.values(), *pins])]
    made, kept = [], []
    for each in shown:
        cells = _Cells(Unembedding(each.model, vocabulary), each.tuned, words, pinned)
        with edit(each.model, each.edits):
            steps, shares = cells.of(one, each.reading, each.which)
        made.append({"name": each.name, "role": each.role, "steps": steps})
        kept.append(shares)
    title, about = words_above
    data: dict[str, Any] = {
        "title": title,
        "about": f"{about}; a cell is the best token after a layer, shaded by its probability",
        "models": made,
        "pins": {
            words.code(token): [[[[slot[at] for slot in layer] for layer in step] for step in of] for of in kept]
            for at, token in enumerate(pinned)
        },
        "names": {words.code(token): name for name, token in reversed(named_tokens.items())},
    }
    return View("lens_grid", {**data, "words": words.spelt, "ids": words.ids})


class _Cells:
    """The cells of one model."""

    def __init__(self, unembedding: Unembedding, tuned: TunedLens | None, words: Words, pinned: list[int]):
        self._unembedding, self._tuned, self._words, self._pinned = unembedding, tuned, words, pinned

    @torch.no_grad()
    def of(self, one: Batch, reading: Reading, which: str = "clean") -> tuple[list[dict[str, Any]], list[Any]]:
        """Its steps (one, unless the reading makes several questions), and the pinned tokens' probabilities: step →
        layer → slot → pin."""
        model = self._unembedding.model
        view = reading.view(model, one)
        prompts = reading.ask(model, one, which, view=view)
        trace = record(model, prompts.canvas, ["resid_pre", "final_norm"])
        enters = torch.from_numpy(trace["resid_pre"].transpose("example", "layer", "position", ...).to_numpy())
        leaves = torch.from_numpy(trace["final_norm"].transpose("example", "position", ...).to_numpy())
        steps, shares = [], []
        for row in range(len(enters)):
            tokens, read = prompts.canvas.tokens[row].tolist(), int(prompts.slots[row, 0])
            chances = [self._log_p(enters[row, layer], layer).exp() for layer in range(enters.shape[1])]
            chances.append(self._unembedding.logits(leaves[row]).softmax(-1))
            cells = [self._best(each) for each in chances]
            mask = model.mask_id
            codes = [MASK if token == mask else self._words.code(token) for token in tokens]
            steps.append({"tokens": codes, "read": read, "cells": cells})
            shares.append([_rounded(each[:, self._pinned]) for each in chances])
        return steps, shares

    def _log_p(self, states: Tensor, layer: int) -> Tensor:
        if self._tuned is not None:
            states = states.to(self._tuned.weight.device, self._tuned.weight.dtype)
            states = states + states @ self._tuned.weight[layer] + self._tuned.bias[layer]
        return self._unembedding.log_probabilities(states)

    def _best(self, chances: Tensor) -> list[list[list[float]]]:
        best = chances.topk(min(BEST, chances.shape[-1]))
        return [
            [[self._words.code(token), share] for token, share in zip(ids, of, strict=True)]
            for ids, of in zip(best.indices.tolist(), _rounded(best.values), strict=True)
        ]


def _rounded(values: Tensor) -> list[list[float]]:
    return [[round(value, 4) for value in row] for row in values.tolist()]
