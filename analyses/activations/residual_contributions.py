"""Residual contributions: how much each layer adds, relative to the residual stream, and in which direction.

With h a layer's input, a the output of its attention and m that of its MLP, at the answer's slot:

    ‖a‖/‖h‖   ‖m‖/‖h+a‖   ‖a+m‖/‖h‖        the sizes
    cos(a, h)   cos(m, h+a)   cos(a+m, h)    the directions: above 0 a layer amplifies its input, below 0 it erases

A layer that adds little, or only along its input, could be skipped with little harm. Such a profile is cheap but not
causal; for the effect of a layer, skip it (`analyses.depth.skip_effects`).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from analyses.activations.answer_states import AnswerStates, GivenStates, states_of, tabled
from analyses.result import Result
from analyses.statistics.per_example import PerExample
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading
from probe.tasks import Batch

SITES = ("resid_pre", "attn_out", "mlp_out")
MEASURES = ("‖a‖/‖h‖", "‖m‖/‖h+a‖", "‖a+m‖/‖h‖", "cos(a, h)", "cos(m, h+a)", "cos(a+m, h)")


def contributions(
    models: Model | Pair,
    batch: Batch,
    *,
    reading: str | Reading = "prefix",
    states: GivenStates = None,
    square: bool = False,
) -> Result:
    """Relative size and direction of what attention and the MLP add, layer by layer."""
    states = states_of(models, batch, SITES, reading, states, square)
    table, _ = tabled(states, _written)
    layers = next(iter(states.values())).model.n_layers
    table = table.assign(depth=(table["layer"] + 0.5) / layers)
    axes = {"x": "depth", "colour": "role", "facet": "measure", "x_title": "depth (l + ½)/L"}
    return Result(
        "residual_contributions",
        table,
        f"What each layer writes, {batch.task}",
        "h is a layer's input, a what attention adds and m what the MLP adds, at the answer's slot. Sizes are "
        "relative to the stream before. A cosine above 0 means that the layer amplifies its input, below 0 that it "
        "erases it.",
        "by_depth",
        {"axes": axes, "reading": str(reading)},
    )


def _written(states: AnswerStates) -> PerExample:
    h, a, m = (states.at(site) for site in SITES)
    found = sizes_and_directions(h, a, m)
    return states.per_example(found, layer=range(h.shape[1]), measure=MEASURES)


def sizes_and_directions(h: Tensor, a: Tensor, m: Tensor) -> Tensor:
    """… × MEASURES, of tensors … × feature."""
    pairs = ((a, h), (m, h + a), (a + m, h))
    sizes = [write.norm(dim=-1) / there.norm(dim=-1) for write, there in pairs]
    return torch.stack([*sizes, *(cosine_similarity(write, there, dim=-1) for write, there in pairs)], -1)
