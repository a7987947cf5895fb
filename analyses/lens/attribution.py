"""Direct logit attribution: what each component's output adds to the answer's margin directly.

The residual stream is a sum. With its scale held fixed the final norm is linear, so the margin, the logit of the target
minus that of the distractor, is a sum too: one part for the embedding, each head, each MLP, and one for the biases. The
parts add up to the margin exactly; if a model caps its logits (Gemma 2), to the margin before the cap. A part is a
component's direct effect on the logits; its effect through later components is not included. A model with a head
between the final norm and the unembedding (ModernBERT) is refused: its logits are not a sum of such parts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from analyses.activations.answer_states import AnswerStates, GivenStates, states_of, tabled
from analyses.lens.components import component_outputs, layer_of
from analyses.lens.unembedding import Unembedding
from analyses.result import Result
from analyses.statistics.per_example import PerExample
from probe.errors import ProbeError
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading
from probe.tasks import Batch

SITES = ("resid_pre", "z", "attn_out", "mlp_out")
INPUT, BIAS = "input", "bias"


def direct(
    models: Model | Pair,
    batch: Batch,
    *,
    reading: str | Reading = "prefix",
    states: GivenStates = None,
    square: bool = False,
) -> Result:
    """Each component's direct part in the logit difference between target and distractor."""
    for model in models.models.values() if isinstance(models, Pair) else (models,):
        refuse_head(model)
    states = states_of(models, batch, SITES, reading, states, square)
    table, _ = tabled(states, margin_by_node)
    table["layer"] = table["node"].map(layer_of)
    kinds = {"a": "head", "m": "mlp", "i": "input", "b": "bias"}
    table = table.assign(kind=table["node"].str[0].map(kinds.get), measure="direct attribution", unit="logits")
    return Result(
        "direct_logit_attribution",
        table,
        f"What each component adds to the margin, {batch.task}",
        "Parts of logit(target) − logit(distractor) with the final norm's scale held; they add up to the margin. Above "
        "0 a component supports the answer, below 0 it opposes it.",
        "components",
        {"reading": str(reading), "measures": ["direct attribution"]},
    )


def refuse_head(model: Model) -> None:
    """Refuse a model whose logits are not linear in the final norm's output."""
    if model.layout.head is not None:
        raise ProbeError(
            f"direct attribution to the logits of {model.name!r} ({model.layout.model_type})",
            expected="an unembedding that reads the final norm's output, so that the logits are a sum of parts",
            found="a prediction head with an activation between them",
            remedy="Use the lens (analyses.lens.logit_lens), or circuits, which differentiate the head.",
        )


@torch.no_grad()
def margin_by_node(states: AnswerStates) -> PerExample:
    """The parts (input, every head and MLP, biases) of each example's margin."""
    refuse_head(states.model)
    unembedding = Unembedding.of(states)
    embedded = states.at("resid_pre")[:, 0]
    last = sum(states.at(site)[:, -1] for site in ("resid_pre", "attn_out", "mlp_out"))
    assert isinstance(last, Tensor)
    scale, added, centred = unembedding.frozen(last)
    towards = unembedding.directions(states.target) - unembedding.directions(states.distractor)
    onto = towards * scale
    if centred:  # subtracting an output's mean and projecting on `onto` equals projecting on `onto` minus its own mean
        onto = onto - onto.mean(-1, keepdim=True)
    nodes, parts = [INPUT], [(embedded.to(onto) * onto).sum(-1, keepdim=True)]
    headless = torch.zeros_like(onto)  # the part of attention's output that belongs to no head: biases
    for layer, (names, written) in enumerate(component_outputs(states)):
        nodes += names
        parts.append(torch.einsum("qnf,qf->qn", written.float(), onto))
        headless += states.at("attn_out")[:, layer].to(onto) - written[:, :-1].sum(1).to(onto)
    parts.append(((onto * headless).sum(-1) + towards @ added)[:, None])
    return states.per_example(torch.cat(parts, 1).cpu(), node=[*nodes, BIAS])
