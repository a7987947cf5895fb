"""The Jacobian lens, for any attention: what later layers make of a middle state, and where information comes from.

The logit lens reads a middle state as if no layer followed. The Jacobian lens first applies the mean Jacobian of the
later layers, J_l = E[∂ final residual at the answer's slot / ∂ residual after layer l], so that a state h is read as
norm(J_l h). TransformerLens has it for causal models, and this agrees with it there. Under full attention, and along a
decoding run, it shows more, because the Jacobian is kept separately by side and by step:

    a lens    KL to the final belief and rank of the target, reading the answer's slot through its own matrix ("own
              slot") and through the sum over all slots ("all slots", TransformerLens' convention)
    a map     of what arrives at the answer's slot from small changes of the stream after layer l: how much from the
              slots left of it, from its own, from those right of it. The null is that all slots contribute alike

The matrices that read an example are means over *other* examples (two halves, each read by the other's), so a lens
cannot overfit the example. Between roles, `role − ar` rows are paired by example.

    lens.jacobian(pair, batch).figure()
    lens.jacobian(pair, batch, reading="trajectory")      # the same at each decoding step

Cost: d backward passes per question, for all layers and sides together; 32 questions of a shipped twin take 6 s of CPU.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analyses.activations.answer_states import AnswerStates, states_of
from analyses.lens.curves import LENS_SITES, Curves, beliefs_of, curves
from analyses.lens.transport import SIDES, transports
from analyses.result import Result
from analyses.statistics import adjusted
from analyses.statistics.contrasts import compared
from analyses.statistics.per_example import PerExample
from probe.errors import ProbeError
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading, TrajectoryReading
from probe.tasks import Batch

EXAMPLES = 32
FEWEST = 4  # examples, two in each half
LENSES = ("own slot", "all slots")
SHARES = tuple(f"arrives from {side}" if side == "itself" else f"arrives from the {side}" for side in SIDES)


def jacobian(
    models: Model | Pair,
    batch: Batch,
    *,
    reading: str | Reading = "prefix",
    square: bool = False,
    examples: int = EXAMPLES,
) -> Result:
    """The Jacobian lens and its map, after each layer, for a model or for every model of a pair.

    square    also each twin's weights under the other's mask (the 2×2)
    examples  how many of the batch, from its beginning; each costs d backward passes per model
    """
    some = batch[torch.arange(min(examples, len(batch)))]
    if len(some) < FEWEST:
        raise ProbeError(
            "a Jacobian lens",
            expected=f"at least {FEWEST} examples, since one half reads the other",
            found=str(len(some)),
            remedy="Take more examples.",
        )
    states = states_of(models, some, LENS_SITES, reading, None, square)
    made, even = {}, {}
    for role, each in states.items():
        made[role], even[role] = _of_model(each)
    table = compared(made, {role: each.model.name for role, each in states.items()}, batch.task)
    layers = next(iter(states.values())).model.n_layers
    table = _with_nulls(table.assign(depth=(table["layer"] + 1) / layers), even)
    return Result(
        "jacobian_lens",
        table,
        f"Jacobian lens, {batch.task}",
        "Information that arrives at the answer's slot, by side: shares of the squared Jacobian, with those if all "
        "slots contributed alike (dotted). KL: how far the belief read after a layer is from the final one; gain: how "
        "much nearer than the logit lens's, above 0 if later layers transform the state as the Jacobian predicts.",
        "profile",
        {
            "axes": {"x": "depth", "colour": "role", "facet": "measure", "x_title": "layers passed / L"},
            "reading": str(reading), "examples": len(some),
        },
    )  # fmt: skip


def _with_nulls(table: pd.DataFrame, even: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Nulls: for shares that all slots contribute alike; for gains and differences 0. Only the latter are tested."""
    table["null"] = [
        0.0 if " − " in role or measure.startswith("gain") else even[role].get(measure, np.nan)
        for role, measure in zip(table["role"], table["measure"], strict=True)
    ]
    return table if "p" not in table else table.assign(q=adjusted(table["p"]))


def _of_model(states: AnswerStates) -> tuple[PerExample, dict[str, float]]:
    """Every measure of a model (example × (step ×) layer × measure), and the shares if all slots contributed alike."""
    matrices, shares, even = _mean_matrices(states)
    half, turn = _halves(states), _turn(states)
    logit = curves(states)
    columns = {name: shares[..., at] for at, name in enumerate(SHARES)}
    for at, name in enumerate(LENSES):
        found = beliefs_of(states, _reader(matrices[:, :, :-1, at], half, turn))
        columns |= _columns(name, found, logit)
    columns |= {"KL, logit lens": logit.kl, "rank of the target, logit lens": logit.rank}
    values = torch.stack([columns[name].float() for name in columns], -1)
    found = states.per_example(values, layer=logit.layers, measure=columns)
    return found, dict(zip(SHARES, even.mean(0).tolist(), strict=True))


def _columns(name: str, found: Curves, logit: Curves) -> dict[str, Tensor]:
    return {f"KL, {name}": found.kl, f"gain over the logit lens, {name}": logit.kl - found.kl,
            f"rank of the target, {name}": found.rank}  # fmt: skip


def _mean_matrices(states: AnswerStates) -> tuple[Tensor, Tensor, Tensor]:
    """The matrices that read each half at each step, own slot and all slots (half, step, layer, lens, out, in); every
    question's shares by side (question, layer, side); and those if all slots contributed alike."""
    model, prompts = states.model, states.reading.ask(states.model, states.batch)
    if not torch.equal(prompts.view.example.cpu(), states.example):
        raise ProbeError("the questions of a Jacobian lens", expected="the same twice", found="others the second time",
                         remedy="Give the reading a seed.")  # fmt: skip
    half, turn = _halves(states), _turn(states)
    steps, d = int(turn.max()) + 1, model.d_model
    total = torch.zeros(2, steps, model.n_layers + 1, len(LENSES), d, d)
    count = torch.zeros(2, steps)
    shares, even = [], []
    for part in transports(model, prompts):
        at = torch.stack([part.jacobian[:, :, 1], part.jacobian.sum(2)], 2)
        where = (1 - half[part.rows], turn[part.rows])  # a half is read by the other's
        total.index_put_(where, at, accumulate=True)
        count.index_put_(where, torch.ones(len(at)), accumulate=True)
        shares.append(part.energy / part.energy.sum(-1, keepdim=True))
        even.append(part.even)
    return total / count[..., None, None, None, None], torch.cat(shares), torch.cat(even)


def _halves(states: AnswerStates) -> Tensor:
    return states.example % 2


def _turn(states: AnswerStates) -> Tensor:
    """The step of each question; draws of a reading without steps share their matrices."""
    if not isinstance(states.reading, TrajectoryReading):
        return torch.zeros(len(states), dtype=torch.long)
    return torch.unique(torch.as_tensor(states.trace["draw"].values), return_inverse=True)[1]


def _reader(matrices: Tensor, half: Tensor, turn: Tensor) -> Callable[[Tensor, slice], Tensor]:
    """Transforms the states that enter the layers (question × layer × feature), each by its half's matrices."""

    def read(entering: Tensor, rows: slice) -> Tensor:
        read_by = torch.stack([half[rows], turn[rows]], -1)
        moved = torch.empty_like(entering, dtype=torch.float32)
        for one in torch.unique(read_by, dim=0):
            which = (read_by == one).all(-1)
            moved[which] = torch.einsum("qlf,lgf->qlg", entering[which].float(), matrices[one[0], one[1]])
        return moved

    return read
