"""Knock-outs: what a model still answers when some of its components are ablated.

    knockouts = Knockouts.of(model, batch, reading="prefix", kind="mean")
    knockouts.metric(masks)           # masks (m × components) → the metric, m × examples
    knockouts.metric(own)             # masks (m × examples × components): each example's own
    knockouts.layers([[0], [0, 1]])   # masks of whole layers

`kind` is what replaces a component's output: "zero", "mean" (over the clean rows, slot by slot), "resample" (its output
on another example) or "corrupt" (its output on the corrupt prompt). Components are heads and MLPs in the order of a
forward pass, as in a circuit's nodes.

One forward pass holds many knock-outs: each of its rows is one prompt under one mask, and a mask is an edit of the
heads' z and of the MLPs' output. Rows are sorted by the first layer in which anything is knocked out, and start at that
layer: the layers before it were computed once (`partial_forward`). An example runs under a mask once, however many
measures need it. Measures get one number per example, so that examples can be resampled.

If a measure is a mean over random knock-outs, each example has its own draws. That needs fewer runs than the same draws
for all examples and averages over more of them. Examples then differ in their draws too, so the interval over examples
includes the uncertainty of the draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from analyses.circuits.attribution.ablation import Ablation
from analyses.circuits.attribution.batching import in_chunks
from analyses.circuits.attribution.metrics import Metric, metric_of
from analyses.circuits.attribution.node_outputs import NodeOutputs, outputs_of
from analyses.circuits.attribution.prompts import PromptPairs
from analyses.circuits.graph import Graph
from analyses.components.partial_forward import Whole
from analyses.components.scores import KINDS, Scores
from analyses.statistics.finite import refuse_not_finite
from probe.batch import Batch
from probe.models.model import Model
from probe.readings import Reading, named
from probe.tracing import edit
from probe.tracing.changes import Change, Moment
from probe.tracing.edits import Edit

Masks = NDArray[np.bool_]  # knock-outs (× examples, each its own) × components

_TOKENS = {"cpu": 2**11, "cuda": 2**17}  # in one forward pass: what a CPU's cache holds, what fills a GPU
_HELD = {"cpu": 2**28, "cuda": 2**33}  # bytes of whole passes and replacements


@dataclass(eq=False)
class Knockouts:
    """A model, its prompts, and the metric of every example under every mask that has been run."""

    model: Model
    prompts: PromptPairs
    ablation: Ablation
    measure: Metric
    nodes: pd.DataFrame  # node, layer, head, kind: one row per component
    task: str = ""
    scope: str = ""
    examples: str = ""
    rows: int = 256
    _known: dict[bytes, NDArray] = field(default_factory=dict, repr=False)  # by mask: for each example, NaN if not run
    _begun: tuple[slice, Whole, NodeOutputs] | None = field(default=None, repr=False)  # of the prompts run last

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
        prompts = PromptPairs.of(model, batch, named(reading))
        name, measure = metric_of(metric, batch.task)
        if name == "kl":
            with torch.no_grad():
                prompts = prompts.with_clean_logits(prompts.answer_logits(model.run_trunk(prompts.canvas())))
        graph = Graph.of(model).nodes()
        return cls(
            model=model,
            prompts=prompts,
            ablation=Ablation(prompts, kind, seed),
            measure=measure,
            nodes=graph.loc[graph["kind"].isin(KINDS), :].reset_index(drop=True),
            task=batch.task,
            scope=batch.scope,
            examples=f"{batch.task}, seed {batch.seed}, n {prompts.examples}",
            rows=rows or max(1, _TOKENS.get(model.device.type, _TOKENS["cpu"]) // prompts.slots),
        )

    # Masks

    @property
    def n(self) -> int:
        return self.prompts.examples

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
        """The metric (knock-outs × examples) under each mask; earlier runs are cached."""
        masks = np.asarray(masks, dtype=bool)
        shape = (len(masks), self.n, self.n_components)
        each = np.broadcast_to(masks if masks.ndim == 3 else masks[:, None], shape)
        distinct, which = np.unique(each.reshape(-1, self.n_components), axis=0, return_inverse=True)
        which = which.reshape(shape[:2])
        known = [self._known.setdefault(mask.tobytes(), np.full(self.n, np.nan)) for mask in np.packbits(distinct, 1)]
        asked = np.zeros((len(distinct), self.n), dtype=bool)
        asked[which, np.arange(self.n)] = True
        asked &= np.isnan(known)
        if asked.any():
            for mine, found, new in zip(known, self._run(distinct, asked), asked, strict=True):
                mine[new] = found[new]
        return np.stack(known)[which, np.arange(self.n)]

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
    def _run(self, masks: Masks, asked: NDArray) -> NDArray:
        """The metric (masks × examples) where it is needed."""
        found = np.zeros(asked.shape)
        held = min(len(self.prompts), self._held)
        for chunk, part in in_chunks(len(self.prompts), held, lambda chunk: self._on(chunk, masks, asked)):
            weight, example = self.prompts.weight[chunk].numpy(), self.prompts.example[chunk].numpy()
            np.add.at(found.T, example, (part * weight).T)
        return found

    def _on(self, chunk: slice, masks: Masks, asked: NDArray) -> NDArray:
        """The metric of some prompts under masks: masks × prompts, 0 where it is not needed."""
        prompts = self.prompts[chunk]
        whole, instead = self._whole(chunk)
        mask, question = np.nonzero(asked[:, prompts.example.numpy()])
        first = self._first_layer(masks)[mask]
        order = np.argsort(first, kind="stable")
        found = np.zeros((len(masks), len(prompts)))
        for at in range(0, len(order), self.rows):
            now = order[at : at + self.rows]
            rows, chosen = torch.from_numpy(question[now]), torch.from_numpy(masks[mask[now]])
            with whole.begun(int(first[now].min()), rows), edit(self.model, self._edits(instead, rows, chosen)):
                hidden = self.model.run_trunk(prompts.canvas()[rows])
            these = prompts[rows]
            values = self.measure(these.answer_logits(hidden), these.truth).float().cpu().numpy()
            refuse_not_finite(f"the metric of {self.model.name!r} under knock-outs", values, {"row": rows.tolist()})
            found[mask[now], question[now]] = values
        return found

    @property
    def _held(self) -> int:
        """How many prompts are held at a time: for each layer a stream, two outputs, and two replacements."""
        bytes_each = 5 * 4 * self.model.n_layers * self.prompts.slots * self.model.d_model
        return max(1, _HELD.get(self.model.device.type, _HELD["cpu"]) // bytes_each)

    def _whole(self, chunk: slice) -> tuple[Whole, NodeOutputs]:
        """The whole pass of some prompts, and the replacements; the last ones are cached."""
        if self._begun is None or self._begun[0] != chunk:
            self._begun = None
            self.ablation.prepare(min(chunk.stop - chunk.start, self.rows))
            whole = Whole.of(self.model, self.prompts[chunk].canvas())
            self._begun = chunk, whole, self.ablation.instead(chunk, whole.outputs)[0]
        return self._begun[1:]

    def _first_layer(self, masks: Masks) -> NDArray:
        """The first layer in which anything is knocked out; the last layer if nothing is."""
        layer = np.where(masks, self.nodes["layer"].to_numpy(), self.model.n_layers - 1)
        return layer.min(1)

    def _edits(self, instead: NodeOutputs, rows: Tensor, masks: Tensor) -> list[Edit]:
        heads, edits = self.model.n_heads, []
        for layer, chosen in enumerate(masks.split(heads + 1, dim=1)):
            if chosen[:, :heads].any():
                z = instead.heads[layer].unflatten(-1, (heads, -1)).transpose(1, 2)
                edits.append(Edit("z", Replaced(z, rows, chosen[:, :heads]), (layer,), one_layer=True))
            if chosen[:, heads].any():
                change = Replaced(instead.mlps[layer], rows, chosen[:, heads])
                edits.append(Edit("mlp_out", change, (layer,), one_layer=True))
        return edits

    # What knock-outs are matched by

    @torch.no_grad()
    def norms(self) -> NDArray:
        """How much each component's output changes: the root mean square, over prompts, of its change at all slots."""
        total, size = np.zeros(self.n_components), min(len(self.prompts), 32)
        self.ablation.prepare(size)
        for start in range(0, len(self.prompts), size):
            chunk = slice(start, min(start + size, len(self.prompts)))
            clean, _ = outputs_of(self.model, self.prompts[chunk].canvas())
            moved = clean.map(torch.clone).minus_(self.ablation.instead(chunk, clean)[0])
            for layer in range(self.model.n_layers):
                first = 1 + layer * (self.model.n_heads + 1)
                whole = moved.spread(self.model, slice(None), slice(first, first + self.model.n_heads + 1))
                total[first - 1 : first + self.model.n_heads] += whole.pow(2).sum((1, 2)).cpu().numpy()
        return np.sqrt(total / len(self.prompts))


@dataclass(frozen=True, eq=False)
class Replaced(Change):
    """Replace outputs where a mask says so."""

    instead: Tensor  # prompts (× heads) × …, as a view of the site
    rows: Tensor  # the prompt of each row of the pass
    chosen: Tensor  # rows (× heads)

    def values(self) -> list[Tensor]:
        return [self.instead, self.rows, self.chosen]

    def __call__(self, old: Tensor, moment: Moment) -> Tensor:
        row, *head = (index.to(old.device) for index in self.chosen.nonzero(as_tuple=True))
        new = old.clone()
        new[row, *head] = self.instead[self.rows.to(old.device)[row], *head].to(old)
        return new
