"""How well each layer predicts the share of hidden tokens, and the effect of shifting a state along it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analyses.activations.answer_states import AnswerStates, from_trace
from analyses.lens.unembedding import Unembedding
from analyses.result import Result
from analyses.statistics.contrasts import compared
from analyses.statistics.folds import out_of_fold
from analyses.statistics.per_example import PerExample
from analyses.steering.directions import Directions, checked_layer
from probe.decoding import decode
from probe.errors import ProbeError
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading, named
from probe.readings.still import written_span
from probe.tasks import Batch
from probe.tracing import add, edit, only, record

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
FEWEST = 16
FOLDS = 5
PENALTIES = (1e-1, 1e0, 1e1, 1e2, 1e3, 1e4)
R2, SHUFFLED, GAIN = (
    "R² of the share hidden",
    "R² of the share hidden, shuffled",
    "entropy: gain over the share itself",
)
CLOCK, RANDOM, BEYOND = "along the clock", "random directions", "beyond random directions"


@dataclass(frozen=True, eq=False)
class Seen:
    """One model's states at the answer's slot, one row per share of hidden tokens and example."""

    states: Tensor  # (row, layer, feature); layers from the embedding on
    share: NDArray
    example: NDArray
    entropy: NDArray
    n: int

    @property
    def slopes(self) -> Tensor:
        """For each half of the examples, the change of the state when all rather than nothing is hidden (half, layer,
        feature): estimated on the other half, within examples, so that their content cancels."""
        found = []
        for other in (1, 0):
            here = self.example % 2 == other
            state, share = self.states[here].float(), torch.as_tensor(self.share[here], dtype=torch.float32)
            of = torch.as_tensor(self.example[here])
            state, share = _less_own_mean(state, of, self.n), _less_own_mean(share, of, self.n)
            found.append(torch.einsum("qlf,q->lf", state, share) / share.square().sum())
        return torch.stack(found)


def read(models: Model | Pair, batch: Batch, *, shares: Iterable[float] = SHARES, seed: int = 0) -> Result:
    """How well each layer predicts the share of hidden tokens, on held-out examples."""
    made, names = {}, {}
    for role, (model, readings) in _asked(models, shares, seed).items():
        made[role], names[role] = _reads(seen(model, batch, readings), seed), model.name
    table = compared(made, names, batch.task)
    shuffled = table[table["measure"] == SHUFFLED].set_index(["role", "layer"])["estimate"]
    table = table.loc[table["measure"] != SHUFFLED, :].reset_index(drop=True)
    rows = zip(table["role"], table["layer"], table["measure"], strict=True)
    null = [shuffled.get((role, layer)) if measure == R2 else 0.0 for role, layer, measure in rows]
    table["null"] = [0.0 if " − " in role else value for role, value in zip(table["role"], null, strict=True)]
    return Result(
        "clock",
        table,
        f"Share of hidden tokens, read off each layer, {batch.task}",
        "R² of a ridge regression of the share hidden on the state at the answer's slot, on held-out examples (1: "
        "exact; dotted: shuffled shares). Gain: what the prediction adds to the share itself in "
        "predicting the entropy of the answer. `ar, native mask`: the AR model's weights on the same inputs.",
        "profile",
        {"axes": {"x": "layer", "colour": "role", "facet": "measure", "x_title": "layer (−1: embedding)"},
         "shares": list(shares), "seed": seed},
    )  # fmt: skip


def move(
    models: Model | Pair, batch: Batch, *, layer: int | None = None, by: float = 0.5, seed: int = 0, draws: int = 2
) -> Result:
    """The effect of a shift along the clock, as if `by` more were hidden, on the answer and on the order of writing."""
    made, names = {}, {}
    for role, (model, readings) in _asked(models, SHARES, seed).items():
        if "," in role:  # the AR weights do not decode in this way
            continue
        behind = checked_layer(model, layer)
        slopes = seen(model, batch, readings).slopes[:, behind + 1]
        made[role], names[role] = _moved(model, batch, behind, Directions(by * slopes, 0), draws), model.name
    from analyses.steering.dose import of_roles

    table = of_roles(made, names, batch.task)
    return Result(
        "clock_moved",
        table,
        f"Effect of shifting the clock, {batch.task}",
        f"The effect of shifting every masked slot along the clock, as if {by:g} more were hidden, minus that of the "
        "opposite shift, halved; and beyond random directions of the same length. Commit order: the rank correlation "
        "of when each token is written with and without the shift.",
        "forest",
        {"axes": {"rows": ["role", "measure"], "facet": "of", "x_title": "change"}, "by": by, "draws": draws},
    )


def seen(model: Model, batch: Batch, readings: list[Reading]) -> Seen:
    """The states at the answer's slot, for every share."""
    sites = ("resid_pre", "final_norm")
    parts = [
        from_trace(model, batch, one, record(model, batch, sites, reading=one, positions="read")) for one in readings
    ]
    shares = [_shares(part, amount) for part, amount in zip(parts, map(_amount, readings), strict=True)]
    return Seen(
        torch.cat([part.at("resid_pre") for part in parts]),
        np.concatenate(shares),
        np.concatenate([part.example.numpy() for part in parts]),
        np.concatenate([_entropy(part) for part in parts]),
        len(batch),
    )


def _asked(models: Model | Pair, shares: Iterable[float], seed: int) -> dict[str, tuple[Model, list[Reading]]]:
    """Every model with masks (or noise), under its own reading at each share; and the AR weights on the same inputs."""
    all_of = models.models if isinstance(models, Pair) else {"model": models}
    amounts = [float(share) for share in shares]
    found: dict[str, tuple[Model, list[Reading]]] = {}
    for role, model in all_of.items():
        if model.paradigm.asked_by is None:
            name, knob = model.paradigm.partly_hidden_by
            found[role] = model, [named(name, **{knob: amount}, draws=1, seed=seed) for amount in amounts]
    if not found:
        raise ProbeError("a clock", expected="a model that hides what it is to write", found="one that writes from left"
                         " to right", remedy="Use a masked, block or FLUID model, or a flow.")  # fmt: skip
    if isinstance(models, Pair) and "diffusion" in found and models.ar.mask_id is not None:
        twin, readings = found["diffusion"]
        if readings[0].name == "ratio":
            native = [replace(one, attention=twin.paradigm.attention) for one in readings]
            found["ar, native mask"] = models.ar, native
    return found


def _amount(reading: Reading) -> float:
    return float(getattr(reading, "rate", getattr(reading, "tau", 0.0)))


def _shares(states: AnswerStates, amount: float) -> NDArray:
    """The share actually hidden, if it was drawn; in a flow, τ."""
    if states.reading.name == "ratio":
        return np.asarray(states.trace["ratio"].values, dtype=np.float64)
    return np.full(len(states), amount)


@torch.no_grad()
def _entropy(states: AnswerStates) -> NDArray:
    unembedding = Unembedding.of(states)
    log_p = unembedding.logits(states.at("final_norm")).log_softmax(-1)
    return torch.special.entr(log_p.exp()).sum(-1).cpu().numpy()


def _less_own_mean(values: Tensor, example: Tensor, n: int) -> Tensor:
    total = values.new_zeros(n, *values.shape[1:]).index_add_(0, example, values)
    count = torch.bincount(example, minlength=n).clamp(min=1).view(-1, *[1] * (values.dim() - 1))
    return values - (total / count)[example]


def _reads(found: Seen, seed: int) -> PerExample:
    """Example × layer × measure, whose means over examples are the R² and the gain."""
    if found.n < FEWEST:
        raise ProbeError("a clock", expected=f"at least {FEWEST} examples", found=str(found.n),
                         remedy="Take more.")  # fmt: skip
    shuffled = _shuffled(found.share, found.example, np.random.default_rng(seed))
    counted = np.stack([found.share, found.share**2], 1)
    known = held_out(counted, found.entropy, found.example)
    columns = []
    for layer in range(found.states.shape[1]):
        state = found.states[:, layer].float().numpy()
        told = held_out(state, found.share, found.example)
        noise = held_out(state, shuffled, found.example)
        both = held_out(np.column_stack([counted, told]), found.entropy, found.example)
        better = explained(both, found.entropy) - explained(known, found.entropy)
        columns.append(np.stack([explained(told, found.share), explained(noise, shuffled), better], -1))
    layers = range(-1, found.states.shape[1] - 1)
    return PerExample.from_questions(
        np.stack(columns, 1), found.example, found.n, layer=layers, measure=[R2, SHUFFLED, GAIN]
    )


def _shuffled(share: NDArray, example: NDArray, generator: np.random.Generator) -> NDArray:
    """Every example's shares, shuffled."""
    order = np.lexsort((generator.random(len(share)), example))
    back = np.empty_like(share)
    back[np.lexsort((np.arange(len(share)), example))] = share[order]
    return back


def explained(told: NDArray, truth: NDArray) -> NDArray:
    """For each row, 1 minus its squared error in units of the variance: the mean over rows is R²."""
    return 1 - (told - truth) ** 2 / max(float(np.var(truth)), 1e-12)


def held_out(features: NDArray, truth: NDArray, groups: NDArray) -> NDArray:
    """Each row's prediction by a ridge regression fitted to the folds it is not in."""
    from sklearn.linear_model import RidgeCV

    return out_of_fold(lambda: RidgeCV(alphas=PENALTIES), features, truth, groups=groups, folds=FOLDS)


# Moving it


def _moved(model: Model, batch: Batch, layer: int, clock: Directions, draws: int) -> PerExample:
    """Example × measure × direction."""
    generator = torch.Generator().manual_seed(0)
    every = [clock, *(clock.at_random(len(batch), generator) for _ in range(draws))]
    answers = torch.stack([_answer_moved(model, batch, layer, one) for one in every])  # direction × example × 2
    columns = {"confidence": answers[..., 0], "entropy (nats)": answers[..., 1]}
    if batch.positions["completion"].shape[1] > 2 and model.mask_id is not None:
        columns["commit order"] = torch.stack([_order_kept(model, batch, layer, one) for one in every])
    kept = []
    for of in columns.values():
        chance = of[1:].mean(0)
        kept.append(torch.stack([of[0], chance, of[0] - chance], -1))
    return PerExample.of(torch.stack(kept, 1), of=columns, measure=[CLOCK, RANDOM, BEYOND])


def _pushes(by: Directions, layer: int, n: int, sign: float, masked: bool) -> Any:
    push = add("resid_post", sign * by.of(torch.arange(n))[:, None], layer=layer)
    return only(push, state="masked") if masked else push


@torch.no_grad()
def _answer_moved(model: Model, batch: Batch, layer: int, by: Directions) -> Tensor:
    """Confidence and entropy of the answer: a shift minus the opposite one, halved (example × 2)."""
    prompts = named("prefix").ask(model, batch)
    slots = prompts.slots.to(model.device)
    told = []
    for sign in (1.0, -1.0):
        with edit(model, _pushes(by, layer, len(batch), sign, model.mask_id is not None)):
            hidden = model.run_trunk(prompts.canvas)
        at = slots.to(hidden.device)[..., None].expand(-1, -1, hidden.shape[-1])
        p = Unembedding(model).logits(hidden.gather(1, at)[:, 0]).softmax(-1)
        told.append(torch.stack([p.amax(-1), torch.special.entr(p).sum(-1)], -1).cpu())
    return (told[0] - told[1]) / 2


def _order_kept(model: Model, batch: Batch, layer: int, by: Directions) -> Tensor:
    """The rank correlation of when each token of the completion is written, with the shift and without it."""
    start, length = written_span(batch, "trajectory")
    before = decode(model, batch.clean[:, :start], length).committed_at[:, start:]
    with edit(model, _pushes(by, layer, len(batch), 1.0, True)):
        after = decode(model, batch.clean[:, :start], length).committed_at[:, start:]
    return _correlation(before.double().cpu(), after.double().cpu()).float()


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    """For each row; NaN if all tokens were written at once."""
    one, other = one - one.mean(1, keepdim=True), other - other.mean(1, keepdim=True)
    size = one.norm(dim=1) * other.norm(dim=1)
    return torch.where(size > 0, (one * other).sum(1) / size, torch.nan)
