"""Training a tuned lens under the readings: only on slots whose logits the model was trained to predict with.

The visible tokens decide which slots those are. An AR model predicts the next token wherever only text precedes it. A
diffusion model predicts masked tokens; its logits for visible tokens were never trained, and maps fitted there would
learn noise. So the AR model gets plain text, and the others their readings: the prefix, one mask, and random masks at
three rates.

Slots differ in how far a middle layer's belief is from the final one: a hundredth of a nat at an answer, whole nats in
the middle of a text. If all counted alike, a map could gain on the text and lose on the answers, where lenses are used.
So slots form *groups*: the answers, or the text, of a task under a reading. KL is counted in units of the logit lens's
own KL in that group, and a map is kept only if held-out KL rises in no group.
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

TEXT_SLOTS = 3  # drawn from a canvas's trained slots, besides the answer's own
HELD_OUT = 0.2  # the share of examples that decide which map is kept
LOOKS = 10  # evaluations on held-out examples during training


@dataclass(frozen=True)
class States:
    """The input of each layer (row × layer × feature) and the final norm's output, at trained slots."""

    entering: Tensor
    normed: Tensor
    held_out: Tensor  # (row), whether its example is held out
    group: Tensor  # (row), the answers or the text of a task under a reading

    def __getitem__(self, rows: Tensor) -> States:
        return States(self.entering[rows], self.normed[rows], self.held_out[rows], self.group[rows])

    def __len__(self) -> int:
        return len(self.group)

    @property
    def groups(self) -> int:
        return int(self.group.max()) + 1


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
    """A tuned lens for a model, trained on some batches (of the tasks' train split) under its readings.

    readings   by default the model's own (`readings_of`)
    steps      of Adam
    rows       states in one step
    rate       the initial learning rate; it falls to 0 along a cosine
    seed       of the slots, the held-out examples and the order of training
    """
    given = [batches] if isinstance(batches, Batch) else list(batches)
    chosen = [named(one) for one in readings] if readings else readings_of(model)
    states = _states(model, given, chosen, torch.Generator().manual_seed(seed))
    unembedding = Unembedding(model)
    best, before, after = _fit(model, unembedding, states, steps, rows, rate, seed)
    about = {
        "model": model.name,
        "weights": fingerprint.of_weights(model),
        "tasks": sorted({batch.task for batch in given}),
        "readings": [str(one) for one in chosen],
        "steps": steps,
        "seed": seed,
        "groups": [
            f"{batch.task}, {reading}, {what}" for batch in given for reading in chosen for what in ("answers", "text")
        ],
        "held_out_kl": {"logit": before.tolist(), "tuned": after.tolist()},
    }
    return replace(best, about=about)


def readings_of(model: Model) -> list[Reading]:
    """The readings that a model's lens is trained on."""
    if model.paradigm.asked_by is not None:
        return [named(model.paradigm.asked_by)]
    partly_hidden, share = model.paradigm.partly_hidden_by
    noisy = [named(partly_hidden, **{share: amount}, draws=1) for amount in (0.25, 0.5, 0.75)]
    return [named("prefix"), named("one_mask"), *noisy]


def answering(model: Model, tokens: Tensor, view: View) -> Tensor:
    """Which slots (rows × slots, bool) of a canvas have logits that the model was trained to predict with."""
    return model.paradigm.answering(tokens, view.hidden.to(tokens.device))


def _states(model: Model, batches: list[Batch], readings: list[Reading], generator: torch.Generator) -> States:
    parts = []
    for number, batch in enumerate(batches):
        kept_apart = torch.rand(len(batch), generator=generator) < HELD_OUT
        kept_apart[torch.randint(len(batch), (1,), generator=generator)] = True
        for turn, reading in enumerate(readings):
            prompts = reading.ask(model, batch)
            answers = answering(model, prompts.canvas.tokens, prompts.view).float().cpu()
            text = torch.multinomial(answers, TEXT_SLOTS, replacement=True, generator=generator)
            slots = torch.cat([prompts.slots.cpu(), text], 1)
            trace = record(model, prompts.canvas, ("resid_pre", "final_norm"), positions=slots)
            entering = torch.from_numpy(trace["resid_pre"].values).transpose(1, 2).flatten(0, 1)
            normed = torch.from_numpy(trace["final_norm"].values).flatten(0, 1)
            held_out = kept_apart[prompts.view.example].repeat_interleave(slots.shape[1])
            first = 2 * (number * len(readings) + turn)
            group = first + (torch.arange(slots.shape[1]) > 0).long()
            parts.append((entering, normed, held_out, group.repeat(len(slots))))
    return States(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _fit(
    model: Model, unembedding: Unembedding, states: States, steps: int, rows: int, rate: float, seed: int
) -> tuple[TunedLens, Tensor, Tensor]:
    """The best maps, and the held-out KL (group × layer) without and with them."""
    best = TunedLens.identity(model)
    apart, shown = states[states.held_out], states[~states.held_out]
    before = after = kl_by_group(unembedding, best, apart)
    in_units_of = kl_by_group(unembedding, best, shown).clamp(min=1e-4)
    # In units of the state's size at its layer, so that one learning rate serves streams that grow a hundredfold.
    scale = shown.entering.square().mean((0, 2)).sqrt().to(model.device).clamp(min=1e-6)
    weight, bias = (torch.zeros_like(part).requires_grad_() for part in (best.weight, best.bias))
    adam = torch.optim.Adam([weight, bias], lr=rate)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    evenly = (1 / torch.bincount(shown.group).float())[shown.group]  # every group as often
    generator = torch.Generator().manual_seed(seed)
    at_once = unembedding.at_once(model.n_layers)
    for step in range(1, steps + 1):
        some = shown[torch.multinomial(evenly, rows, replacement=True, generator=generator)]
        adam.zero_grad()
        for piece in torch.arange(rows).split(at_once):
            kl = _kl(unembedding, TunedLens(weight, bias * scale[:, None]), some[piece])
            (kl / in_units_of[some[piece].group.to(kl.device)]).sum().div(rows).backward()
        adam.step()
        decay.step()
        if step % max(1, steps // LOOKS) == 0 or step == steps:
            lens = TunedLens(weight.detach(), (bias * scale[:, None]).detach())
            found = kl_by_group(unembedding, lens, apart)
            harmless = (found <= before).all(0)
            better = harmless & (_relative(found, before) < _relative(after, before))
            best.weight[better], best.bias[better] = lens.weight[better], lens.bias[better]
            after = torch.where(better, found, after)
    return best, before, after


def _relative(kl: Tensor, before: Tensor) -> Tensor:
    """By layer, the mean over groups of KL in units of the logit lens's."""
    return (kl / before.clamp(min=1e-6)).mean(0)


def _kl(unembedding: Unembedding, lens: TunedLens, states: States) -> Tensor:
    """KL(final ‖ lens) of each row and layer, in nats."""
    with torch.no_grad():
        final = unembedding.logits(states.normed).log_softmax(-1)
    believed = unembedding.log_probabilities(lens(states.entering))
    return kl_div(believed, final[:, None].expand_as(believed), reduction="none", log_target=True).sum(-1)


@torch.no_grad()
def kl_by_group(unembedding: Unembedding, lens: TunedLens, states: States) -> Tensor:
    """The mean KL of each group and layer."""
    pieces = torch.arange(len(states)).split(unembedding.at_once(len(lens.weight)))
    kl = torch.cat([_kl(unembedding, lens, states[some]) for some in pieces])
    group = states.group.to(kl.device)
    total = kl.new_zeros(states.groups, kl.shape[1]).index_add_(0, group, kl)
    return total / torch.bincount(group)[:, None]
