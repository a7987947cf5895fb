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

from analyses.interventions.in_a_run import of_side
from analyses.interventions.reach import cone, cones_of_run
from analyses.lens.tuned import TunedLens
from analyses.lens.unembedding import Unembedding
from probe.decoding import Trajectory
from probe.decoding.places import UNWRITTEN
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading, named
from probe.readings.by_role import reading_for, roles
from probe.readings.trajectory import TrajectoryReading
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
    (slot None: every one), marks the cells that the change can reach; `beside` puts the source's grid in front. Under a
    reading of decoding runs each grid is every step of the run that its model makes by itself, changed or not.
    """
    how = reading_for(model, reading)
    one = batch[example : example + 1]
    before = _shown(model.name, "model", model, how, one)
    after = _shown(f"{model.name}, changed", "changed", model, how, one, edits=tuple(edits))
    shown = [before, after]
    if beside is not None:
        own = reading_for(beside.model, reading)
        shown.insert(0, _shown(str(beside), "beside", beside.model, own, one, which=beside.which))
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
        slots = None if slot is None else [slot]
        if isinstance(how, TrajectoryReading):
            steps = view.data["models"][last]["steps"]
            assert before.run is not None
            cones, at = cones_of_run(model, before.run, edits, row=row, slots=slots)
            cones += cones[-1:] * (len(steps) - len(cones))  # the changed run may take more steps
            more |= {"changed_at": at, "step": at[0] if at else 0}
        else:
            cones = [cone(model, how.ask(model, one).canvas, row=row, slots=slots)]
        more |= {
            "changed": [[row, slot]],
            "cone": [[[int(felt) for felt in layer] for layer in each] for each in cones],
        }
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
    run: Trajectory | None = None  # of which every step is shown, not only those at which the answer was open


def _shown(
    name: str,
    role: str,
    model: Model,
    how: Reading,
    one: Batch,
    *,
    edits: tuple[Edit | Skip, ...] = (),
    which: str = "clean",
) -> _Shown:
    """A grid of one state, or of a whole run under a reading of runs."""
    run = None
    if isinstance(how, TrajectoryReading):
        with edit(model, edits):
            run = how.run(model, of_side(one, which))
    return _Shown(name, role, model, how, edits=edits, which=which, run=run)


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
            if each.run is None:
                (steps, shares), text = cells.of(one, each.reading, each.which), ""
            else:
                (steps, shares), text = cells.of_run(one, each.run), str(each.run.example(0).text)
        made.append({"name": each.name, "role": each.role, "steps": steps} | ({"text": text} if text else {}))
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
        reads = prompts.slots[:, 0].tolist()
        made = [self._step(*each) for each in zip(prompts.canvas.tokens, reads, enters, leaves, strict=True)]
        return [step for step, _ in made], [shares for _, shares in made]

    @torch.no_grad()
    def of_run(self, one: Batch, run: Trajectory) -> tuple[list[dict[str, Any]], list[Any]]:
        """The same of every step of a run."""
        model = self._unembedding.model
        trace = record(model, run, ["resid_pre", "final_norm"])
        enters = torch.from_numpy(trace["resid_pre"].isel(example=0).transpose("step", "layer", "position", ...).values)
        leaves = torch.from_numpy(trace["final_norm"].isel(example=0).transpose("step", "position", ...).values)
        read = int(model.paradigm.read_at(run.states[0, :1], one.positions["answer"].to(run.states.device))[0, 0])
        made = []
        for tokens, layers, last in zip(run.states[0].cpu(), enters, leaves, strict=True):
            here = int((tokens != UNWRITTEN).sum())  # an autoregressive run has only what is written
            made.append(self._step(tokens[:here], min(read, here - 1), layers[:, :here], last[:here]))
        return [step for step, _ in made], [shares for _, shares in made]

    def _step(self, tokens: Tensor, read: int, enters: Tensor, leaves: Tensor) -> tuple[dict[str, Any], list[Any]]:
        """The cells of one forward pass, from what enters each layer (layer × slot) and what leaves the last."""
        chances = [self._log_p(entering, layer).exp() for layer, entering in enumerate(enters)]
        chances.append(self._unembedding.logits(leaves).softmax(-1))
        mask = self._unembedding.model.mask_id
        codes = [MASK if token == mask else self._words.code(token) for token in tokens.tolist()]
        cells = [self._best(each) for each in chances]
        return {"tokens": codes, "read": read, "cells": cells}, [_rounded(each[:, self._pinned]) for each in chances]

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
