"""Training a tuned lens on the readings: on slots whose logits the model was trained to answer with, and no others.

What is in sight decides which slots those are. An AR model answers for the next token wherever only text stands before
it. A diffusion model answers for what is masked; at a slot whose token is visible its logits were never trained, and
maps fitted there would learn noise. So the AR model is shown plain text, and the others the readings they are asked
under: the prefix, one mask, and random masks at three rates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from analyses.lens.tuned import TunedLens
from analyses.lens.unembedding import Unembedding
from probe.models.model import Model
from probe.readings import Reading, View, named
from probe.tasks import Batch
from probe.tracing import fingerprint, record

SLOTS_A_ROW = 4  # drawn from those of a canvas that answer
HELD_OUT = 0.2  # the share of examples that decide which map is kept
LOOKS = 10  # at the held-out ones, in the course of training


@dataclass(frozen=True)
class States:
    """What enters each layer (row × layer × feature), and what the final norm gives, at slots that answer."""

    entering: Tensor
    normed: Tensor
    held_out: Tensor  # (row), whether its example is kept from training


def train(
    model: Model,
    batches: Batch | Iterable[Batch],
    *,
    readings: Sequence[str | Reading] | None = None,
    steps: int = 300,
    rows: int = 128,
    rate: float = 2e-3,
    seed: int = 0,
) -> TunedLens:
    """A tuned lens for a model, trained on the readings of some batches (of the tasks' train split)."""
    given = [batches] if isinstance(batches, Batch) else list(batches)
    asked = [named(one) for one in readings] if readings else readings_of(model)
    states = _states(model, given, asked, torch.Generator().manual_seed(seed))
    unembedding = Unembedding(model)
    best, before, after = _fit(model, unembedding, states, steps, rows, rate, seed)
    about = {
        "model": model.name,
        "weights": fingerprint.of_weights(model),
        "tasks": sorted({batch.task for batch in given}),
        "readings": [str(one) for one in asked],
        "steps": steps,
        "seed": seed,
        "held_out_kl": {"logit": before.tolist(), "tuned": after.tolist()},
    }
    return replace(best, about=about)


def readings_of(model: Model) -> list[Reading]:
    """The readings that a model's lens is trained on."""
    if model.paradigm.in_order:
        return [named("ar")]
    return [named("prefix"), named("one_mask"), *(named("ratio", rate=rate, draws=1) for rate in (0.25, 0.5, 0.75))]


def answering(model: Model, tokens: Tensor, view: View) -> Tensor:
    """Which slots (rows × slots, bool) of a shown view have logits that the model was trained to answer with."""
    hidden = view.hidden.to(tokens.device)
    if model.paradigm.in_order:
        return hidden.cumsum(1) == 0
    place = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
    slots = model.paradigm.read_at(tokens, place)
    readable = hidden & (slots >= 0)
    return torch.zeros_like(hidden).scatter_reduce(1, slots.clamp(min=0), readable, "amax")


def _states(model: Model, batches: list[Batch], readings: list[Reading], generator: torch.Generator) -> States:
    parts = []
    for batch in batches:
        kept_apart = torch.rand(len(batch), generator=generator) < HELD_OUT
        kept_apart[torch.randint(len(batch), (1,), generator=generator)] = True
        for reading in readings:
            asked = reading.ask(model, batch)
            answers = answering(model, asked.canvas.tokens, asked.view).cpu()
            slots = torch.multinomial(answers.float(), SLOTS_A_ROW, replacement=True, generator=generator)
            trace = record(model, asked.canvas, ("resid_pre", "final_norm"), positions=slots)
            entering = torch.from_numpy(trace["resid_pre"].values).transpose(1, 2).flatten(0, 1)
            normed = torch.from_numpy(trace["final_norm"].values).flatten(0, 1)
            parts.append((entering, normed, kept_apart[asked.view.example].repeat_interleave(SLOTS_A_ROW)))
    return States(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _fit(
    model: Model, unembedding: Unembedding, states: States, steps: int, rows: int, rate: float, seed: int
) -> tuple[TunedLens, Tensor, Tensor]:
    """The best maps, and the held-out KL of each layer without and with them."""
    lens = TunedLens.identity(model)
    best, before = TunedLens.identity(model), _held_out_kl(unembedding, lens, states)
    lowest = before.clone()
    # In units of what a state is like at its layer, so that one learning rate serves streams that grow a hundredfold.
    scale = states.entering.square().mean((0, 2)).sqrt().to(model.device).clamp(min=1e-6)
    weight, bias = (torch.zeros_like(part).requires_grad_() for part in (lens.weight, lens.bias))
    adam = torch.optim.Adam([weight, bias], lr=rate)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    drawn_from = (~states.held_out).nonzero()[:, 0]
    generator = torch.Generator().manual_seed(seed)
    rows = min(rows, unembedding.at_once(model.n_layers))
    for step in range(1, steps + 1):
        some = drawn_from[torch.randint(len(drawn_from), (rows,), generator=generator)]
        lens = TunedLens(weight, bias * scale[:, None])
        adam.zero_grad()
        _kl(unembedding, lens, states.entering[some], states.normed[some]).mean(0).sum().backward()
        adam.step()
        decay.step()
        if step % max(1, steps // LOOKS) == 0:
            lens = TunedLens(weight.detach(), (bias * scale[:, None]).detach())
            found = _held_out_kl(unembedding, lens, states)
            better = found < lowest
            best.weight[better], best.bias[better] = lens.weight[better], lens.bias[better]
            lowest = torch.where(better, found, lowest)
    return best, before, lowest


def _kl(unembedding: Unembedding, lens: TunedLens, entering: Tensor, normed: Tensor) -> Tensor:
    """KL(final ‖ lens) of each row and layer, in nats."""
    with torch.no_grad():
        final = unembedding.logits(normed).log_softmax(-1)
    believed = unembedding.log_probabilities(lens(entering))
    return kl_div(believed, final[:, None].expand_as(believed), reduction="none", log_target=True).sum(-1)


def _held_out_kl(unembedding: Unembedding, lens: TunedLens, states: States) -> Tensor:
    held_out = states.held_out.nonzero()[:, 0]
    with torch.no_grad():
        parts = [
            _kl(unembedding, lens, states.entering[some], states.normed[some])
            for some in held_out.split(unembedding.at_once(len(lens.weight)))
        ]
    return torch.cat(parts).mean(0)
