"""The component lens: what each head and MLP would answer if its output were the whole residual stream.

The output of a specialised component favours few tokens: it ranks the target high, the ten best tokens have most of its
probability, its entropy is low. Mechanism Shift's hypothesis is that diffusion makes components more diffuse. A
component's output is small compared with the residual stream, so it is put through the final norm by itself, which sets
its scale.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from analyses.activations.answer_states import AnswerStates, GivenStates, states_of, tabled
from analyses.lens.unembedding import Unembedding, rank_of
from analyses.result import Result
from analyses.statistics.per_example import PerExample
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading
from probe.tasks import Batch
from probe.tracing.sites import output_weight, scaled_heads

SITES = ("z", "mlp_out")
MEASURES = ("rank of the target", "mass of the 10 best", "entropy (nats)")
TOP = 10


def component_outputs(states: AnswerStates) -> Iterator[tuple[list[str], Tensor]]:
    """The outputs of each layer's heads and MLP at the answer's slot: their names, and question × node × feature."""
    z, mlp_out = states.at("z"), states.at("mlp_out")
    for layer in range(z.shape[1]):
        weight = output_weight(states.model, layer)
        mixed = z[:, layer].to(weight.device, weight.dtype)
        mixed = scaled_heads(states.model, layer, mixed[:, :, None])[:, :, 0]
        by_head = torch.einsum("qhk,hkf->qhf", mixed, weight)
        names = [*(f"a{layer}.h{head}" for head in range(z.shape[2])), f"m{layer}"]
        yield names, torch.cat([by_head, mlp_out[:, layer, None].to(by_head)], 1)


def layer_of(node: str) -> int:
    """The layer in a node's name: a3.h1 → 3, m3 → 3, input → -1."""
    return int(node[1:].partition(".")[0]) if node[1:2].isdigit() else -1


def component_lens(
    models: Model | Pair,
    batch: Batch,
    *,
    reading: str | Reading = "prefix",
    states: GivenStates = None,
    square: bool = False,
) -> Result:
    """Rank of the target, mass of the ten best tokens and entropy of every head's and MLP's own output."""
    states = states_of(models, batch, SITES, reading, states, square)
    table, _ = tabled(states, component_scores)
    table["layer"] = table["node"].map(layer_of)
    table["kind"] = table["node"].str[0].map({"a": "head", "m": "mlp"}.get)
    return Result(
        "component_lens",
        table,
        f"What each component predicts by itself, {batch.task}",
        "One mark per head or MLP: its own output, unembedded alone. A specialised component ranks the target high and "
        "puts its mass on few tokens; a diffuse one spreads it.",
        "components",
        {"reading": str(reading), "measures": MEASURES},
    )


@torch.no_grad()
def component_scores(states: AnswerStates) -> PerExample:
    unembedding = Unembedding.of(states)
    nodes, found = [], []
    for names, written in component_outputs(states):
        nodes += names
        parts = [
            _of(unembedding.log_probabilities(written[rows]), states.target[rows])
            for rows in states.chunks(unembedding.at_once(len(names)))
        ]
        found.append(torch.cat(parts).cpu())
    return states.per_example(torch.cat(found, 1), node=nodes, measure=MEASURES)


def _of(log_p: Tensor, target: Tensor) -> Tensor:
    """Rank, top mass and entropy (question × node × 3) of log-probabilities."""
    most = log_p.topk(min(TOP, log_p.shape[-1]), -1).values.exp().sum(-1)
    return torch.stack([rank_of(log_p, target), most, torch.special.entr(log_p.exp()).sum(-1)], -1)
