"""Fitting a horizon head until it stops improving, on text that the model itself wrote.

A head is used on the text that the model writes, so it learns from that: greedy continuations of training prompts, and
what the model predicts ahead of each of their tokens (`probe.decoding.foreseen`). That is computed once. A head then
takes seconds, for either of two targets (see `probe.paradigms.horizon`): the published one, a mean loss below τ, and
the length that is accepted when each drafted token costs c.

    seen = own_text(model, [OfTask(probe.task("countdown"))], 2000)
    head, told = fitted(model, seen, MeanLoss(0.5))

A tenth of the anchors is held out: training ends when their loss has not fallen for PATIENCE epochs, and the best head
is kept. `told` is how often it gives exactly the K* (or A) of a held-out anchor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from probe.decoding.foreseen import foresee
from probe.errors import ProbeError
from probe.paradigms.horizon import Ahead, Horizon, accepted, competence, new_horizon, soft_target, worth
from probe.training.text import Pieces

if TYPE_CHECKING:
    from probe.models.model import Model
    from probe.tasks.task import Task
    from probe.training.recipe import HorizonSettings, Text

PATIENCE = 5  # epochs without improvement, after which the best head is taken
BATCH = 512  # anchors
GIVEN = 8  # tokens of a running text that are the prompt


@dataclass(frozen=True)
class Prompts:
    """The beginnings (n × k) of some texts, how many tokens follow, and whether continuations (n × length) are right;
    `check` is None for running text, where nothing is."""

    given: Tensor
    length: int
    check: Callable[[Tensor], Tensor] | None = None


class Source(Protocol):
    """Where prompts come from; `split` is "train", "calibration" or "test"."""

    def prompts(self, model: Model, n: int, split: str, seed: int) -> Prompts: ...


@dataclass(frozen=True)
class OfTask:
    """A task's questions, whose answers are written."""

    task: Task

    def prompts(self, model: Model, n: int, split: str, seed: int) -> Prompts:
        batch = self.task.examples(model, n, seed=seed, split=split, fewer=True)
        completion = batch.positions["completion"]
        start, end = int(completion.min()), batch.clean.shape[1]

        def check(tokens: Tensor) -> Tensor:
            return self.task.check(batch, tokens.cpu().gather(1, completion))

        return Prompts(batch.clean[:, :start], end - start, check)


@dataclass(frozen=True)
class OfText:
    """Pieces of a running text, each continued from its first tokens. Of the held-out ones the first half is the
    calibration split, the rest the test split."""

    plan: Text
    given: int = GIVEN

    def prompts(self, model: Model, n: int, split: str, seed: int) -> Prompts:
        with TemporaryDirectory() as cache:
            pieces = Pieces(self.plan, model.tokenizer, Path(cache), "train" if split == "train" else "test")
            half = len(pieces) // 2
            low, high = {"train": (0, len(pieces)), "calibration": (0, half), "test": (half, len(pieces))}[split]
            order = torch.randperm(high - low, generator=torch.Generator().manual_seed(seed))[:n] + low
            given = pieces[order][:, : self.given]
        return Prompts(given, self.plan.length - self.given)


@dataclass(frozen=True)
class MeanLoss:
    """The published target: the longest stride whose mean loss is below τ."""

    tau: float

    def __post_init__(self) -> None:
        if not self.tau > 0:
            raise ProbeError("τ", expected="above 0", found=f"{self.tau:g}", remedy="Such as 1.0.")

    def __str__(self) -> str:
        return f"τ {self.tau:g}"

    def best(self, ahead: Ahead) -> Tensor:
        return competence(ahead.losses, self.tau)

    def loss(self, said: Tensor, best: Tensor) -> Tensor:
        return nn.functional.cross_entropy(said, soft_target(best))


@dataclass(frozen=True)
class AcceptedLength:
    """What decoding wants: the stride of the highest expected accepted length, less `cost` for each of its tokens."""

    cost: float

    def __post_init__(self) -> None:
        if not 0 <= self.cost < 1:
            raise ProbeError("the cost of a draft", expected="from 0 to below 1", found=f"{self.cost:g}",
                             remedy="It is in accepted tokens, such as 0.3.")  # fmt: skip

    def __str__(self) -> str:
        return f"c {self.cost:g}"

    def best(self, ahead: Ahead) -> Tensor:
        return accepted(ahead.right)

    def loss(self, said: Tensor, best: Tensor) -> Tensor:
        return nn.functional.mse_loss(said, worth(best, self.cost))


Target = MeanLoss | AcceptedLength


def target_of(plan: HorizonSettings) -> Target:
    """The target of a recipe's stage II."""
    return MeanLoss(plan.tau) if plan.cost is None else AcceptedLength(plan.cost)


def own_text(model: Model, sources: Sequence[Source], n: int, seed: int = 0) -> Ahead:
    """What the model predicts ahead of the tokens of its own text, for `n` training prompts of each source, in random
    order, on the CPU."""
    parts = []
    for source in sources:
        asked = source.prompts(model, n, "train", seed)
        parts.append(foresee(model, asked.given, asked.length).ahead)
    names = ("losses", "right", "sure", "hidden")
    every = Ahead(*(torch.cat([getattr(part, name).float().cpu() for part in parts]) for name in names))
    return every[torch.randperm(len(every), generator=torch.Generator().manual_seed(seed))]


def fitted(
    model: Model, seen: Ahead, target: Target, *, epochs: int = 60, learning_rate: float = 2e-3, seed: int = 0
) -> tuple[Horizon, float]:
    """The best head for a target on held-out anchors, and the share of these whose length it tells exactly."""
    head, best = _beginning(model, seed), target.best(seen)
    held = max(1, len(seen) // 10)
    optimizer = torch.optim.AdamW(head.parameters(), learning_rate, weight_decay=0.01)
    generator = torch.Generator().manual_seed(seed)
    least, kept, since = math.inf, head.state_dict(), 0
    for _ in range(epochs):
        for rows in (torch.randperm(len(seen) - held, generator=generator) + held).split(BATCH):
            with torch.enable_grad():
                loss = target.loss(head(seen.hidden[rows]), best[rows])
                optimizer.zero_grad()
                loss.backward()
            optimizer.step()
        with torch.no_grad():
            now = float(target.loss(head(seen.hidden[:held]), best[:held]))
        if now < least - 1e-4:
            least, kept, since = now, {name: part.clone() for name, part in head.state_dict().items()}, 0
        elif (since := since + 1) == PATIENCE:
            break
    head.load_state_dict(kept)
    told = float((head.stride(seen.hidden[:held]) == best[:held]).float().mean())
    return head.to(model.device, model.dtype).eval().requires_grad_(False), told


def _beginning(model: Model, seed: int) -> Horizon:
    """An untrained head in float32 on the CPU; the model keeps the one that it has."""
    had = model.attachments.get("horizon")
    head = new_horizon(model, seed).float().cpu()
    if had is None:
        del model.attachments["horizon"]
    else:
        model.attachments["horizon"] = had
    return head
