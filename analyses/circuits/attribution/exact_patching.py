"""Exact patching: each node, or each edge, patched by itself, and how much the metric changes.

    nodes   the model runs with one node's output replaced at all positions, and everything after it changes accordingly
    edges   only one target reads the replaced output; everything after that target changes accordingly

Nothing is linearised or approximated: one forward pass per node or edge. For small models this is the ground truth that
gradients are compared with. Several nodes or edges share a pass, each with a copy of the rows. The edges of exact-nodes
are 0; exact-edges gives the nodes too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from analyses.circuits.attribution.accumulation import Contribution
from analyses.circuits.attribution.node_outputs import NodeOutputs
from analyses.circuits.attribution.patching import isolated_run
from probe.models.scope import Scope
from probe.models.writes import Writes
from probe.tracing.sites import site

if TYPE_CHECKING:
    from analyses.circuits.attribution.gradients import Attribution, Compared
    from probe.models.model import Model


@torch.no_grad()
def nodes(work: Attribution, rows: slice) -> Contribution:
    """Every node's effect on some rows; the logits' is the effect of all edges into them."""
    found = work.compared(rows, change=False)
    edges = torch.zeros(rows.stop - rows.start if work.by_row else 1, *work.graph.shape)
    return found.part(edges, _node_effects(work, found, rows))


@torch.no_grad()
def edges(work: Attribution, rows: slice) -> Contribution:
    """Every edge's effect on some rows, and every node's."""
    found, graph = work.compared(rows, change=False), work.graph
    cells = torch.as_tensor(graph.valid).nonzero()
    cells = cells[cells[:, 1].argsort(stable=True)]  # a target's edges together: earlier layers are unchanged
    effects = torch.zeros(rows.stop - rows.start, *graph.shape)
    for some in cells.split(work.copies(rows)):
        kept = torch.ones(len(some), *graph.shape, dtype=torch.bool)
        kept[torch.arange(len(some)), some[:, 0], some[:, 1]] = False
        effects[:, some[:, 0], some[:, 1]] = (isolated_metric(work, found, rows, kept) - found.clean).T.cpu()
    effects *= found.prompts.weight[:, None, None]
    return found.part(effects if work.by_row else effects.sum(0, keepdim=True), _node_effects(work, found, rows))


def isolated_metric(work: Attribution, found: Compared, rows: slice, kept: Tensor) -> Tensor:
    """The metric (circuits, rows) of circuits that run alone on some rows. `found` has the replacements."""
    roles = None if work.position_roles is None else work.position_roles[rows]
    hidden = isolated_run(work.model, work.graph, found.prompts.canvas(), found.other, kept, roles)
    return _each_copy(work, found, hidden)


def _each_copy(work: Attribution, found: Compared, hidden: Tensor) -> Tensor:
    """The metric (copies, rows) from the final norm's output of repeated rows."""
    logits = found.prompts.answer_logits(hidden)
    return torch.stack([work.metric(copy, found.prompts.truth) for copy in logits.split(len(found.prompts))])


def _node_effects(work: Attribution, found: Compared, rows: slice) -> Tensor:
    """(rows, nodes), weighted."""
    canvas = found.prompts.canvas()
    values = []
    for some in torch.arange(len(work.graph.sources)).split(work.copies(rows)):
        copies = torch.arange(len(canvas), device=canvas.tokens.device).repeat(len(some))
        with _replaced(work, found.other, some.tolist()):
            values.append(_each_copy(work, found, work.model.run_trunk(canvas[copies])))
    nothing = torch.zeros(1, *work.graph.shape, dtype=torch.bool)
    values.append(isolated_metric(work, found, rows, nothing))
    return (torch.cat(values) - found.clean).T.cpu() * found.prompts.weight[:, None]


@contextmanager
def _replaced(work: Attribution, instead: NodeOutputs, sources: list[int]) -> Iterator[None]:
    """In copy i of the rows, the output of source i is replaced."""
    graph, model = work.graph, work.model

    def put(found: Tensor, copies: list[int], value: Tensor) -> Tensor:
        changed = found.clone().unflatten(0, (len(sources), -1))
        changed[copies] = value.to(found)
        return changed.flatten(0, 1)

    with Scope() as scope, ExitStack() as hooks:
        for copy, source in enumerate(sources):
            kind, layer = graph.source_kinds[source], int(graph.source_layers[source])
            if kind == "head":
                head = source - graph.head_sources(layer).start
                hooks.enter_context(_other_head(model, layer, head, instead.heads[layer], (copy, len(sources)), scope))
                continue
            module = model.embed_write if kind == "input" else site("mlp_out").module(model, layer)
            value = instead.embed if kind == "input" else instead.mlps[layer]
            written = scope.owned(_given(partial(put, copies=[copy], value=value)))
            hooks.callback(module.register_forward_hook(written).remove)
        yield


@contextmanager
def _other_head(
    model: Model, layer: int, head: int, instead: Tensor, which: tuple[int, int], scope: Scope
) -> Iterator[None]:
    """In one copy of the rows (its number, and how many there are), another output of one head; the other heads' stay
    the same, even if a norm follows them all."""
    writes, own = Writes.of_heads(model, layer), slice(head * model.d_head, (head + 1) * model.d_head)
    copy, copies = which
    mixed: list[Tensor] = []

    def before(_module, taken: tuple) -> None:
        mixed[:] = [writes.scaled(taken[0])]

    def after(_module, _taken, given: Tensor) -> Tensor:
        changed = given.clone().unflatten(0, (copies, -1))
        here = mixed.pop().unflatten(0, (copies, -1))[copy]
        more = (instead.to(here) - here)[..., own] @ writes.weight[own]
        changed[copy] = changed[copy] + more.to(given)
        return changed.flatten(0, 1)

    handles = (
        writes.projection.register_forward_pre_hook(scope.owned(before)),
        site("attn_out").module(model, layer).register_forward_hook(scope.owned(after)),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _given(change: Callable[[Tensor], Tensor]):
    return lambda _module, _taken, found: change(found)
