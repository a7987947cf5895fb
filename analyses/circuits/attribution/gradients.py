"""Attribution by gradients: plain, integrated along the inputs, integrated along each layer's activations.

    eap                  the gradient at the clean run
    eap-ig               its mean over `steps` runs whose token embeddings lie between the corrupt and the clean ones,
                         at corrupt + (k / steps)(clean - corrupt), k = 1 … steps (the paper's points, "1..m") or
                         k = 0 … steps - 1 (those of the published code since February 2025, "0..m-1")
    eap-ig-activations   for each layer's heads, each MLP and the input: the mean over runs in which only their output
                         is interpolated (at the same k / steps), with everything before them clean. More exact where
                         a node's effect is far from linear, for 2 L + 1 times the passes

All three take one pass for the sources' clean outputs and one for the replacements.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from analyses.circuits.attribution.ablation import Ablation
from analyses.circuits.attribution.accumulation import Contribution
from analyses.circuits.attribution.edge_scoring import Scoring
from analyses.circuits.attribution.input_gradients import HELD, InputGradients
from analyses.circuits.attribution.metrics import Metric
from analyses.circuits.attribution.node_outputs import NodeOutputs, outputs_of
from analyses.circuits.attribution.prompts import PromptPairs
from analyses.circuits.graph import Graph
from analyses.statistics.finite import REMEDY
from probe.errors import ProbeError
from probe.models.scope import Scope
from probe.tracing.sites import site

if TYPE_CHECKING:
    from probe.models.model import Model


@dataclass(eq=False)
class Attribution:
    """What is the same for all rows of one attribution."""

    model: Model
    prompts: PromptPairs
    graph: Graph
    metric: Metric
    ablation: Ablation
    steps: int
    points: str = "1..m"
    position_roles: Tensor | None = None  # (rows, slots)
    by_row: bool = False
    neurons: bool = False
    experts: bool = False
    at_once: int = 32  # rows per pass, including a method's copies

    @property
    def shares(self) -> list[float]:
        """The share of the change to the corrupt run at each point of the path."""
        first = 0 if self.points == "0..m-1" else 1
        return [1 - k / self.steps for k in range(first, first + self.steps)]

    def values(self, prompts: PromptPairs, hidden: Tensor) -> Tensor:
        """The metric of each row, from the final norm's output."""
        return self.metric(prompts.answer_logits(hidden), prompts.truth)

    def scoring(self, rows: slice, sources: slice | None = None) -> Scoring:
        roles = None if self.position_roles is None else self.position_roles[rows]
        count = rows.stop - rows.start
        return Scoring(self.graph, self.model, roles, count, self.prompts.slots, self.by_row, sources)

    @torch.no_grad()
    def compared(self, rows: slice, *, change: bool) -> Compared:
        """Some rows' clean run, and the replacements (or, with `change`, their difference from the clean outputs)."""
        prompts = self.prompts[rows]
        clean, hidden = outputs_of(self.model, prompts.canvas(), neurons=self.neurons, experts=self.experts)
        prompts = prompts.with_clean_logits(prompts.answer_logits(hidden))
        instead, other = self.ablation.instead(rows, clean)
        values = self.values(prompts, hidden)
        corrupt = torch.full_like(values, torch.nan) if other is None else self.values(prompts, other)
        self._refuse_not_finite("clean", rows, clean, values)
        self._refuse_not_finite(self.ablation.kind, rows, instead, None if other is None else corrupt)
        return Compared(prompts, instead.minus_(clean) if change else instead, values, corrupt)

    def _refuse_not_finite(self, run: str, rows: slice, outputs: NodeOutputs, values: Tensor | None) -> None:
        """Refuse a run with NaN or infinity in it, and name the first node that writes one."""
        at = outputs.first_not_finite()
        if at is None and values is not None and not bool(torch.isfinite(values).all()):
            at = "the logits"
        if at is not None:
            raise ProbeError(
                f"attribution of {self.model.name!r}",
                expected="activations that are finite",
                found=f"NaN or infinity in the {run} run of rows {rows.start} to {rows.stop - 1}, first in {at}",
                remedy=REMEDY,
            )

    def input_gradients(self, found: Compared) -> InputGradients:
        return InputGradients(self.model, found.other, found.prompts.canvas() if self.graph.directions else None)

    def copies(self, rows: slice) -> int:
        """How many copies of some rows share a pass."""
        return max(1, self.at_once // (rows.stop - rows.start))


@dataclass(frozen=True, eq=False)
class Compared:
    """Some rows, clean and otherwise."""

    prompts: PromptPairs  # which know the clean logits
    other: NodeOutputs  # the replacements, or their difference from the clean outputs
    clean: Tensor  # (rows), the metric
    corrupt: Tensor

    def part(
        self, edges: Tensor, nodes: Tensor, neurons: Tensor | None = None, experts: Tensor | None = None
    ) -> Contribution:
        """These rows' contribution; edges are (rows or 1, sources, targets)."""
        known = [None if within is None else _numpy(within) for within in (neurons, experts)]
        return Contribution(_numpy(edges), _numpy(nodes), _numpy(self.clean), _numpy(self.corrupt), *known)


def along_inputs(work: Attribution, rows: slice) -> Contribution:
    """Scores of some rows by eap-ig, and by eap, which is one step of it."""
    found = work.compared(rows, change=True)
    gradients, scoring = work.input_gradients(found), work.scoring(rows)
    for step, share in enumerate(work.shares, start=1):
        with _in_between(work.model, found, "embed", -1, share) as point, gradients.listening():
            hidden = work.model.run_trunk(found.prompts.canvas())
            torch.autograd.grad(_total(work, found.prompts, hidden), point)
        if len(gradients.held) == HELD or step == work.steps:
            scoring.take_up(gradients, last=step == work.steps)
    gradients.finish(found.other.total(work.model))
    return _part(found, scoring.scores, gradients, work.steps)


def along_activations(work: Attribution, rows: slice) -> Contribution:
    """Scores of some rows by eap-ig-activations."""
    found = work.compared(rows, change=True)
    whole, total = work.scoring(rows).scores, work.input_gradients(found)
    for name, layer, sources in _groups(work):
        gradients, scoring = work.input_gradients(found), work.scoring(rows, sources)
        for step, share in enumerate(work.shares, start=1):
            with _in_between(work.model, found, name, layer, share) as point, gradients.listening():
                hidden = work.model.run_trunk(found.prompts.canvas())
                torch.autograd.grad(_total(work, found.prompts, hidden), point)
            if len(gradients.held) == HELD or step == work.steps:
                scoring.take_up(gradients, last=step == work.steps)
        gradients.finish(found.other.in_stream(work.model, name, layer))
        whole[:, sources] += scoring.scores
        total.nodes[:, sources] += gradients.nodes[:, sources]
        total.nodes[:, -1] += gradients.nodes[:, -1]
        if total.neurons is not None and gradients.neurons is not None and name == "mlp_out":
            total.neurons[:, layer] = gradients.neurons[:, layer]
        if total.experts is not None and gradients.experts is not None and name == "mlp_out":
            total.experts[:, layer] = gradients.experts[:, layer]
    return _part(found, whole, total, work.steps)


def _groups(work: Attribution) -> Iterator[tuple[str, int, slice]]:
    """A group that is interpolated together: a site, its layer, and the sources that write through it. An MLP's output
    is linear in its neurons, so interpolating it interpolates them too."""
    yield "embed", -1, slice(0, 1)
    for layer in range(work.model.n_layers):
        heads = work.graph.head_sources(layer)
        yield "attn_out", layer, heads
        yield "mlp_out", layer, slice(heads.stop, heads.stop + 1)


@contextmanager
def _in_between(model: Model, found: Compared, name: str, layer: int, share: float) -> Iterator[list[Tensor]]:
    """A site whose output is the clean one plus a share of the change, in all runs inside the context.

    Gradients begin there; the tensor at which they do is put into the list.
    """
    point: list[Tensor] = []
    change = share * found.other.in_stream(model, name, layer)

    def moved(_module, _taken, clean: Tensor) -> Tensor:
        point[:] = [(clean.detach() + change.to(clean)).requires_grad_()]
        return point[0]

    module = model.embed_write if name == "embed" else site(name).module(model, layer)
    with Scope() as scope:
        handle = module.register_forward_hook(scope.owned(moved))
        try:
            yield point
        finally:
            handle.remove()


def _total(work: Attribution, prompts: PromptPairs, hidden: Tensor) -> Tensor:
    values = work.values(prompts, hidden)
    return (values * prompts.weight.to(values)).sum()


def _part(found: Compared, scores: Tensor, gradients: InputGradients, steps: int) -> Contribution:
    """Sums over a path as means; roles become blocks of targets, one after the other."""
    within = [None if one is None else one / steps for one in (gradients.neurons, gradients.experts)]
    return found.part(scores.flatten(2) / steps, gradients.nodes / steps, *within)


def _numpy(found: Tensor):
    return found.detach().float().cpu().numpy()
