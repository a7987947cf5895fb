"""Knock-outs: what a model still answers when some of its components write something else.

    knockouts = Knockouts.of(model, batch, reading="prefix", kind="mean")
    knockouts.metric(masks)           # masks (m × components) → the metric, m × examples
    knockouts.layers([[0], [0, 1]])   # masks of whole layers

`kind` is what stands in a component's place: "zero", "mean" (over the clean rows, slot by slot), "resample" (another
example's) or "corrupt" (the example's own corrupt twin). Components are heads and MLPs in the order of a forward pass,
as in a circuit's nodes.

One forward pass holds many knock-outs: the same questions stand in it once for each mask, and a mask is an edit of the
heads' z and the MLPs' output. Every mask is run once, however many measures ask about it, and what measures are handed
is figures by example, so that they can be resampled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from analyses.circuits.ablation import Ablation
from analyses.circuits.batching import in_chunks
from analyses.circuits.graph import Graph
from analyses.circuits.metrics import Metric, metric_of
from analyses.circuits.questions import Questions
from analyses.circuits.writes import Writes, writes_of
from analyses.scores import KINDS, Scores
from probe.models.model import Model
from probe.readings import Reading, named
from probe.tasks.batch import Batch
from probe.tracing import edit
from probe.tracing.edits import Change, Edit, Moment

Masks = NDArray[np.bool_]  # knock-outs × components

_ROWS = {"cpu": 256, "cuda": 2048}  # in one forward pass, over all knock-outs in it


@dataclass(eq=False)
class Knockouts:
    """A model, its questions, and all that was found about them so far."""

    model: Model
    questions: Questions
    ablation: Ablation
    measure: Metric
    nodes: pd.DataFrame  # node, layer, head, kind: a row a component
    task: str = ""
    scope: str = ""
    examples: str = ""
    rows: int = 256
    _known: dict[bytes, NDArray] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        model: Model,
        batch: Batch,
        *,
        reading: str | Reading = "prefix",
        kind: str = "mean",
        metric: str | Metric | None = None,
        seed: int = 0,
        rows: int | None = None,
    ) -> Knockouts:
        questions = Questions.of(model, batch, named(reading))
        name, measure = metric_of(metric, batch.task)
        if name == "kl":
            with torch.no_grad():
                questions = questions.knowing(questions.answers(model.run_trunk(questions.canvas())))
        graph = Graph.of(model).nodes()
        return cls(
            model=model,
            questions=questions,
            ablation=Ablation(questions, kind, seed),
            measure=measure,
            nodes=graph.loc[graph["kind"].isin(KINDS), :].reset_index(drop=True),
            task=batch.task,
            scope=batch.scope,
            examples=f"{batch.task}, seed {batch.seed}, n {questions.examples}",
            rows=rows or _ROWS.get(model.device.type, 256),
        )

    # Masks

    @property
    def n(self) -> int:
        return self.questions.examples

    @property
    def n_components(self) -> int:
        return len(self.nodes)

    def none(self) -> Masks:
        return np.zeros((1, self.n_components), dtype=bool)

    def each(self) -> Masks:
        """Every component by itself."""
        return np.eye(self.n_components, dtype=bool)

    def layers(self, groups: Iterable[Sequence[int]]) -> Masks:
        """Whole layers, several at a time."""
        layer = self.nodes["layer"].to_numpy()
        return np.stack([np.isin(layer, list(group)) for group in groups])

    # Running

    def metric(self, masks: Masks) -> NDArray:
        """The metric (knock-outs × examples) under each mask; what was run before is remembered."""
        masks = np.asarray(masks, dtype=bool)
        keys = [mask.tobytes() for mask in np.packbits(masks, axis=1)]
        fresh = [at for at, key in enumerate(keys) if key not in self._known]
        fresh = list({keys[at]: at for at in fresh}.values())
        if fresh:
            self._known |= zip([keys[at] for at in fresh], self._run(masks[fresh]), strict=True)
        return np.stack([self._known[key] for key in keys])

    def drop(self, masks: Masks) -> NDArray:
        """How much of the metric is lost under each mask, example by example."""
        return self.metric(self.none()) - self.metric(masks)

    @property
    def full(self) -> NDArray:
        """The metric of the whole model, by example."""
        return self.metric(self.none())[0]

    @property
    def empty(self) -> NDArray:
        """The metric with every component knocked out, by example."""
        return self.metric(~self.none())[0]

    def scores(self) -> Scores:
        """The drop by each component alone, as scores."""
        nodes = self.nodes.loc[:, ["node", "layer", "head", "kind"]]
        return Scores(
            self.model.name, self.task, nodes, self.drop(self.each()).T, self.model.n_layers, self.scope, self.examples
        )

    @torch.no_grad()
    def _run(self, masks: Masks) -> NDArray:
        found = np.zeros((len(masks), self.n))
        rows = min(len(self.questions), self.rows)
        self.ablation.prepare(rows)
        for chunk, part in in_chunks(len(self.questions), rows, lambda chunk: self._on(chunk, masks)):
            weight, example = self.questions.weight[chunk].numpy(), self.questions.example[chunk].numpy()
            np.add.at(found.T, example, (part * weight).T)
        return found

    def _on(self, chunk: slice, masks: Masks) -> NDArray:
        """The metric of some questions under all masks: knock-outs × questions."""
        asked = self.questions[chunk]
        clean, _ = writes_of(self.model, asked.canvas())
        instead, _ = self.ablation.instead(chunk, clean)
        at_once = max(1, self.rows // len(asked))
        parts = [self._under(asked, instead, masks[at : at + at_once]) for at in range(0, len(masks), at_once)]
        return np.concatenate(parts)

    def _under(self, asked: Questions, instead: Writes, masks: Masks) -> NDArray:
        times = len(masks)
        order = torch.arange(len(asked)).repeat(times)
        repeated = asked[order]
        with edit(self.model, self._edits(instead, torch.from_numpy(masks))):
            hidden = self.model.run_trunk(repeated.canvas())
        logits = repeated.answers(hidden)
        return self.measure(logits, repeated.truth).float().cpu().numpy().reshape(times, len(asked))

    def _edits(self, instead: Writes, masks: Tensor) -> list[Edit]:
        heads, edits = self.model.n_heads, []
        for layer, chosen in enumerate(masks.split(heads + 1, dim=1)):
            if chosen[:, :heads].any():
                z = instead.heads[layer].unflatten(-1, (heads, -1)).transpose(1, 2)
                edits.append(Edit("z", Replaced(z, chosen[:, :heads]), (layer,), one_layer=True))
            if chosen[:, heads].any():
                edits.append(Edit("mlp_out", Replaced(instead.mlps[layer], chosen[:, heads]), (layer,), one_layer=True))
        return edits

    # What knock-outs are matched by

    @torch.no_grad()
    def norms(self) -> NDArray:
        """How far each component's write is moved: the root mean square, over questions, of its change at all slots."""
        total, size = np.zeros(self.n_components), min(len(self.questions), 32)
        self.ablation.prepare(size)
        for start in range(0, len(self.questions), size):
            chunk = slice(start, min(start + size, len(self.questions)))
            clean, _ = writes_of(self.model, self.questions[chunk].canvas())
            moved = clean.map(torch.clone).less_(self.ablation.instead(chunk, clean)[0])
            for layer in range(self.model.n_layers):
                first = 1 + layer * (self.model.n_heads + 1)
                whole = moved.spread(self.model, slice(None), slice(first, first + self.model.n_heads + 1))
                total[first - 1 : first + self.model.n_heads] += whole.pow(2).sum((1, 2)).cpu().numpy()
        return np.sqrt(total / len(self.questions))


@dataclass(frozen=True, eq=False)
class Replaced(Change):
    """Other writes where a mask says so. The rows hold the questions once for each mask."""

    instead: Tensor  # questions × …, as a view of the site
    chosen: Tensor  # masks (× heads)

    def values(self) -> list[Tensor]:
        return [self.instead, self.chosen]

    def __call__(self, old: Tensor, moment: Moment) -> Tensor:
        by_mask = old.unflatten(0, (len(self.chosen), -1))
        chosen = self.chosen[:, None].to(old.device)  # masks × questions (× heads) × position × feature
        chosen = chosen.reshape(*chosen.shape, *[1] * (by_mask.dim() - chosen.dim()))
        return torch.where(chosen, self.instead.to(old), by_mask).flatten(0, 1)
