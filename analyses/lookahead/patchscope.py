"""Patchscope: what does a state make another run write?

A probe says what *can be read* off a state; the model itself may make no use of it. So here the model does the reading.
The state of one example (its source), at the slot that predicts the first token of the answer, takes the place of the
same state in another example's run (its host), and the host writes on. If the host then writes what the source would
have written 1, 2, 3 … positions later, the state held that token, and the model used it from there.

    lookahead.patchscope(pair, batch).figure()

Written by chance alone: source and host may have answers in common. The host's own run, without the patch, says how
often, and *gain* is the rest. Distance 0 is the next token: a state of the last layer carries it almost always.

Source and host are two prompts of the batch, equally long, so the state stands where it would stand anyway. Other
prompts made for the purpose ("cat → cat; 135 → 135; ? →") suit large AR models alone: a diffusion twin never saw a text
that breaks off there.

Cost: one decoding run, without a cache, for each layer and model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from analyses.lookahead.probes import FEWEST, tested
from analyses.result import Result
from analyses.statistics.contrasts import compared
from analyses.statistics.per_example import PerExample
from probe.decoding import Trajectory, decode
from probe.decoding.writer import Asked
from probe.errors import ProbeError
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings.still import written_span
from probe.tasks import Batch
from probe.tracing import edit, only, patch, record

PATCHED, BY_CHANCE, GAIN = "written by the patched host", "written by the host alone", "gain over the host alone"
MEASURES = [PATCHED, BY_CHANCE, GAIN]


def patchscope(
    models: Model | Pair,
    batch: Batch,
    *,
    ahead: Iterable[int] = (0, 1, 2),
    layers: Iterable[int] | None = None,
    sampler: Asked = None,
    seed: int = 0,
) -> Result:
    """How often a host writes what the source of its patched state would have written, by layer and distance.

    ahead    distances; 0 is the token that the state itself predicts
    layers   whose input is patched; all by default
    sampler  for the models that are not autoregressive
    seed     of the draw of hosts
    """
    distances = [int(one) for one in ahead]
    _refuse(batch, distances)
    hosts = hosts_of(len(batch), seed)
    made, names = {}, {}
    for role, model in (models.models if isinstance(models, Pair) else {"model": models}).items():
        rule = None if model.paradigm.asked_by is not None else sampler
        chosen = list(range(model.n_layers)) if layers is None else [int(one) for one in layers]
        made[role] = _of_model(model, batch, hosts, distances, chosen, partial(decode, sampler=rule, seed=seed))
        names[role] = model.name
    table = tested(compared(made, names, batch.task), made, names, (GAIN,))
    table.insert(0, "series", table["role"] + ", " + table["ahead"].astype(str) + " ahead")
    return Result(
        "patchscope",
        table,
        f"What a state makes another run write, {batch.task}",
        "Share of hosts that write the token which the source of the patched state writes so many positions later (0: "
        "the next). Gain: above the host's own run, whose answer can be the same by chance.",
        "profile",
        {"axes": {"x": "layer", "colour": "series", "facet": "measure", "x_title": "layer (its input)"}, "seed": seed},
    )


def hosts_of(count: int, seed: int) -> Tensor:
    """A host for each source: never itself."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    hosts = torch.empty(count, dtype=torch.long)
    hosts[order] = order.roll(1)
    return hosts


def _of_model(
    model: Model,
    batch: Batch,
    hosts: Tensor,
    ahead: list[int],
    layers: list[int],
    write: Callable[[Model, Tensor, int], Trajectory],
) -> PerExample:
    """Source × layer × distance × measure."""
    start, length = written_span(batch, "trajectory")
    prompts, asked = batch.clean[:, :start], min(length, max(ahead) + 1) if model.paradigm.asked_by else length
    run = write(model, prompts, asked)
    if run.tau is not None:
        raise ProbeError(
            "a patchscope",
            expected="a model whose first pass predicts tokens",
            found="a flow, which starts from noise",
            remedy="Leave it out.",
        )
    own = run.tokens[:, start:].cpu()
    slot = int(model.paradigm.read_at(run.states[:, 0].cpu(), torch.full((len(batch), 1), start))[0, 0])
    states = record(model, run, ("resid_pre",), positions=[slot])["resid_pre"].isel(position=0)
    values = np.full((len(batch), len(layers), len(ahead), len(MEASURES)), np.nan)
    for turn, layer in enumerate(layers):
        given = torch.from_numpy(states.isel(step=0).sel(layer=layer).values)[:, None]
        put = patch("resid_pre", given, layer=layer, position=slot)
        with edit(model, put if slot < start else only(put, state="masked")):  # until its own token is written
            told = write(model, prompts[hosts], asked).tokens[:, start:].cpu()
        for place, distance in enumerate(ahead):
            patched = (told[:, distance] == own[:, distance]).numpy().astype(float)
            alone = (own[hosts][:, distance] == own[:, distance]).numpy().astype(float)
            values[:, turn, place] = np.stack([patched, alone, patched - alone], -1)
    return PerExample.of(values, layer=layers, ahead=ahead, measure=MEASURES)


def _refuse(batch: Batch, ahead: list[int]) -> None:
    longest = batch.positions["completion"].shape[1] - 1
    if not ahead or min(ahead) < 0 or max(ahead) > longest:
        raise ProbeError(
            f"a patchscope on {batch.task}",
            expected=f"distances from 0 to {longest}",
            found=str(ahead),
            remedy=f"The task writes {longest + 1} tokens; take fewer, or another task.",
        )
    if len(batch) < FEWEST:
        raise ProbeError("a patchscope", expected=f"at least {FEWEST} examples", found=str(len(batch)),
                         remedy="Take more.")  # fmt: skip
