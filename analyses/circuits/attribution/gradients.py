"""Attribution by gradients: plain, integrated along the inputs, integrated along each layer's activations.

    eap                  the gradient at the clean run
    eap-ig               its mean over `steps` runs whose token embeddings lie between the corrupt and the clean ones,
                         at corrupt + (k / steps)(clean - corrupt), k = 1 … steps
    eap-ig-activations   for each layer's heads, each MLP and the input: the mean over runs in which only what these
                         write lies in between (at the same k / steps), everything before them being clean. More exact
                         where a node's effect is far from linear, for 2 L + 1 times the passes

All three take one pass for what the sources write clean and one for what they write instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from analyses.circuits.attribution.ablation import Ablation
from analyses.circuits.attribution.accumulation import Part
from analyses.circuits.attribution.edge_scoring import Scoring
from analyses.circuits.attribution.input_gradients import HELD, Reads
from analyses.circuits.attribution.metrics import Metric
from analyses.circuits.attribution.node_outputs import Writes, writes_of
from analyses.circuits.attribution.prompts import Questions
from analyses.circuits.graph import Graph
from probe.tracing.sites import site

if TYPE_CHECKING:
    from probe.models.model import Model


@dataclass(eq=False)
class Attribution:
    """What is the same for all rows of one attribution."""

    model: Model
    questions: Questions
    graph: Graph
    metric: Metric
    ablation: Ablation
    steps: int
    roles: Tensor | None = None  # (rows, slots)
    by_row: bool = False
    neurons: bool = False
    at_once: int = 32  # rows a pass, where a method makes several copies of them

    def values(self, questions: Questions, hidden: Tensor) -> Tensor:
        """The metric of each row, from the final norm's output."""
        return self.metric(questions.answers(hidden), questions.truth)

    def scoring(self, rows: slice, sources: slice | None = None) -> Scoring:
        roles = None if self.roles is None else self.roles[rows]
        count = rows.stop - rows.start
        return Scoring(self.graph, self.model, roles, count, self.questions.slots, self.by_row, sources)

    @torch.no_grad()
    def compared(self, rows: slice, *, change: bool) -> Compared:
        """Some rows' clean run, and what would be written instead (or, with `change`, how much that changes)."""
        questions = self.questions[rows]
        clean, hidden = writes_of(self.model, questions.canvas(), neurons=self.neurons)
        questions = questions.knowing(questions.answers(hidden))
        instead, other = self.ablation.instead(rows, clean)
        values = self.values(questions, hidden)
        corrupt = torch.full_like(values, torch.nan) if other is None else self.values(questions, other)
        return Compared(questions, instead.less_(clean) if change else instead, values, corrupt)

    def reads(self, found: Compared) -> Reads:
        return Reads(self.model, found.other, found.questions.canvas() if self.graph.directions else None)

    def copies(self, rows: slice) -> int:
        """How many copies of some rows share a pass."""
        return max(1, self.at_once // (rows.stop - rows.start))


@dataclass(frozen=True, eq=False)
class Compared:
    """Some rows, clean and otherwise."""

    questions: Questions  # which know the clean logits
    other: Writes  # what would be written instead, or the change that this makes
    clean: Tensor  # (rows), the metric
    corrupt: Tensor

    def part(self, edges: Tensor, nodes: Tensor, neurons: Tensor | None = None) -> Part:
        """What these rows contribute; edges are (rows or 1, sources, targets)."""
        known = None if neurons is None else _numpy(neurons)
        return Part(_numpy(edges), _numpy(nodes), _numpy(self.clean), _numpy(self.corrupt), known)


def along_inputs(work: Attribution, rows: slice) -> Part:
    """Scores of some rows by eap-ig, and by eap, which is one step of it."""
    found = work.compared(rows, change=True)
    reads, scoring = work.reads(found), work.scoring(rows)
    for step in range(1, work.steps + 1):
        with _in_between(work.model, found, "embed", -1, 1 - step / work.steps) as point, reads.listening():
            hidden = work.model.run_trunk(found.questions.canvas())
            torch.autograd.grad(_total(work, found.questions, hidden), point)
        if len(reads.held) == HELD or step == work.steps:
            scoring.take_up(reads, last=step == work.steps)
    reads.finish(found.other.total(work.model))
    return _part(found, scoring.scores, reads, work.steps)


def along_activations(work: Attribution, rows: slice) -> Part:
    """Scores of some rows by eap-ig-activations."""
    found = work.compared(rows, change=True)
    whole, total = work.scoring(rows).scores, work.reads(found)
    for name, layer, sources in _groups(work):
        reads, scoring = work.reads(found), work.scoring(rows, sources)
        for step in range(1, work.steps + 1):
            with _in_between(work.model, found, name, layer, 1 - step / work.steps) as point, reads.listening():
                hidden = work.model.run_trunk(found.questions.canvas())
                torch.autograd.grad(_total(work, found.questions, hidden), point)
            if len(reads.held) == HELD or step == work.steps:
                scoring.take_up(reads, last=step == work.steps)
        reads.finish(found.other.written(work.model, name, layer))
        whole[:, sources] += scoring.scores
        total.nodes[:, sources] += reads.nodes[:, sources]
        total.nodes[:, -1] += reads.nodes[:, -1]
        if total.neurons is not None and reads.neurons is not None and name == "mlp_hidden":
            total.neurons[:, layer] = reads.neurons[:, layer]
    return _part(found, whole, total, work.steps)


def _groups(work: Attribution) -> Iterator[tuple[str, int, slice]]:
    """What is moved together: a site, its layer, and the sources that write through it.

    An MLP's output is linear in its neurons, so moving them moves it alike; that is done where they want scores.
    """
    yield "embed", -1, slice(0, 1)
    for layer in range(work.model.n_layers):
        heads = work.graph.writes(layer)
        yield "z", layer, heads
        yield "mlp_hidden" if work.neurons else "mlp_out", layer, slice(heads.stop, heads.stop + 1)


@contextmanager
def _in_between(model: Model, found: Compared, name: str, layer: int, share: float) -> Iterator[list[Tensor]]:
    """A site that writes what it does clean and a share of the change, in all runs inside the context.

    Gradients begin there; the tensor at which they do is put into the list.
    """
    point: list[Tensor] = []

    def moved(clean: Tensor) -> Tensor:
        change = found.other.at(name, layer)
        point[:] = [(clean.detach() + share * change.to(clean)).requires_grad_()]
        return point[0]

    def given(_module, _taken, found: Tensor) -> Tensor:
        return moved(found)

    def taken(_module, found: tuple) -> tuple:
        return (moved(found[0]), *found[1:])

    module = model.embedding if name == "embed" else site(name).module(model, layer)
    inside = name in ("z", "mlp_hidden")
    handle = module.register_forward_pre_hook(taken) if inside else module.register_forward_hook(given)
    try:
        yield point
    finally:
        handle.remove()


def _total(work: Attribution, questions: Questions, hidden: Tensor) -> Tensor:
    values = work.values(questions, hidden)
    return (values * questions.weight.to(values)).sum()


def _part(found: Compared, scores: Tensor, reads: Reads, steps: int) -> Part:
    """Sums over a path as means; roles become blocks of targets, one after the other."""
    neurons = None if reads.neurons is None else reads.neurons / steps
    return found.part(scores.flatten(2) / steps, reads.nodes / steps, neurons)


def _numpy(found: Tensor):
    return found.detach().float().cpu().numpy()
