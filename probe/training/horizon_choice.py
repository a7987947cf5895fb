"""Choosing τ, the loss up to which a FLUID model's drafts count as good, on questions used for nothing else.

A horizon head depends on τ (see `probe.paradigms.horizon`), and no training loss says which τ is best: the criteria are
tokens per pass, and slots per token. So a head is fitted for each τ, on the states of training texts, until held-out
anchors stop improving; the calibration split is decoded with each; and of those with as many tokens per pass as the
best one (within the 95% interval of the paired difference), the one with the fewest slots is chosen. The test split is
then decoded with it, and with fixed strides.

    found = choose_tau(model, [probe.task("countdown")], HorizonChoice(taus=(0.5, 1.0, 2.0)))
    found.chosen.tau, found.rows

The states and losses after each anchor are computed once, since they do not depend on τ. Fitting a head then takes
seconds; most time goes into decoding the split for each τ and floor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from probe.decoding import ELASTIC, Strides, decode
from probe.errors import ProbeError
from probe.paradigms import Fluid
from probe.paradigms.horizon import Horizon, competence, draw_anchors, new_horizon, soft_target, stride_losses

if TYPE_CHECKING:
    from probe.models.model import Model
    from probe.tasks.task import Task

FIXED = (1, 2, 4, 8, 16)
ROWS = 64
PATIENCE = 5  # epochs without improvement, after which the best head is taken
BATCH = 512  # anchors


@dataclass(frozen=True)
class HorizonChoice:
    """The `taus` to try, each with strides of at least `floors`; the number of training `texts` per task, and of
    `questions` to decode."""

    taus: tuple[float, ...] = (0.25, 0.5, 1.0, 1.5, 2.0, 2.8)
    floors: tuple[int, ...] = (1, 4)
    texts: int = 2000
    questions: int = 300
    epochs: int = 60
    learning_rate: float = 2e-3
    seed: int = 0

    @property
    def runs(self) -> int:
        """How often a split is decoded."""
        return len(self.taus) * len(self.floors) + 1 + len(FIXED)

    def __post_init__(self) -> None:
        if not self.taus or min(self.taus) <= 0:
            raise ProbeError("τ", expected="at least one, each above 0", found=str(self.taus), remedy="Such as 1.0.")


@dataclass(frozen=True)
class Written:
    """The result of one rule on a split: `passes` is by question."""

    strides: str
    tau: float | None
    least: int
    split: str
    tokens_a_pass: float
    slots_a_token: float
    passes: Tensor
    right: float | None = None  # how often the head predicts K* on held-out anchors

    def row(self) -> dict[str, str]:
        """In words, for a table."""
        return {
            "split": self.split,
            "strides": self.strides,
            "τ": "–" if self.tau is None else f"{self.tau:g}",
            "K* told": "–" if self.right is None else f"{self.right:.0%}",
            "tokens a pass": f"{self.tokens_a_pass:.2f}",
            "slots a token": f"{self.slots_a_token:.1f}",
        }


@dataclass(frozen=True)
class Chosen:
    """All trials and their results. The chosen head is the model's attachment."""

    rows: list[Written]
    chosen: Written


def choose_tau(
    model: Model,
    tasks: Sequence[Task],
    plan: HorizonChoice = HorizonChoice(),
    *,
    tell: Callable[[Written], object] = lambda written: None,
) -> Chosen:
    """Fit a head for each τ, choose on the calibration split, and report on the test split. `tell` is called after
    every run of a split."""
    if not isinstance(model.paradigm, Fluid):
        raise ProbeError(
            f"a horizon for model {model.name!r}", expected="a FLUID model", found=f"a {model.paradigm.name} one",
            remedy="Only strides have a horizon.",
        )  # fmt: skip
    anchors = _anchors(model, tasks, plan)
    heads: dict[float, Horizon] = {}
    tried: list[Written] = []
    for tau in plan.taus:
        heads[tau], right = _fitted(model, *anchors, tau, plan)
        for least in plan.floors:
            written = _write(model, tasks, Strides(ELASTIC, least=least), "calibration", plan)
            tried.append(replace(written, tau=tau, right=right))
            tell(tried[-1])
    best = choice(tried)
    assert best.tau is not None  # every rule here has one
    model.attachments["horizon"] = heads[best.tau]
    finals = [Strides(ELASTIC, least=best.least), *(Strides(length) for length in FIXED)]
    reported = []
    for rule in finals:
        written = _write(model, tasks, rule, "test", plan)
        reported.append(replace(written, tau=best.tau, right=best.right) if rule.elastic else written)
        tell(reported[-1])
    return Chosen([*tried, *reported], best)


def choice(tried: Sequence[Written]) -> Written:
    """Of the rules with as many tokens per pass as the best, the one with the fewest slots."""
    best = max(tried, key=lambda one: one.tokens_a_pass)
    as_good = [one for one in tried if _no_slower(one.passes, best.passes)]
    return min(as_good, key=lambda one: one.slots_a_token)


def _no_slower(passes: Tensor, best: Tensor) -> bool:
    """Whether the 95% interval of the mean difference of two rules' passes, paired by question, contains 0."""
    more = (passes - best).double()
    return float(more.mean()) <= 1.96 * float(more.std()) / math.sqrt(len(more))


def _anchors(model: Model, tasks: Sequence[Task], plan: HorizonChoice) -> tuple[Tensor, Tensor]:
    """The losses after each anchor of training texts (anchors × 16), and its state (anchors × d), in random order."""
    generator = torch.Generator().manual_seed(plan.seed)
    losses, states = [], []
    for task in tasks:
        batch = task.examples(model, plan.texts, seed=plan.seed, split="train", fewer=True)
        given = torch.arange(batch.clean.shape[1]) < batch.positions["completion"].min(1, keepdim=True).values
        for rows in torch.arange(len(batch)).split(ROWS):
            tokens = batch.clean[rows]
            drawn = draw_anchors(tokens, generator, given[rows])
            found = stride_losses(model, tokens.to(model.device), drawn.to(model.device))
            losses.append(found[0].cpu())
            states.append(found[1].float().cpu())
    order = torch.randperm(sum(map(len, losses)), generator=generator)
    return torch.cat(losses)[order], torch.cat(states)[order]


def _fitted(model: Model, losses: Tensor, states: Tensor, tau: float, plan: HorizonChoice) -> tuple[Horizon, float]:
    """The best head for a τ on held-out anchors; and how often it predicts K* there."""
    head, best = new_horizon(model, plan.seed).float().cpu(), competence(losses, tau)
    target, held = soft_target(best), max(1, len(states) // 10)
    optimizer = torch.optim.AdamW(head.parameters(), plan.learning_rate, weight_decay=0.01)
    generator = torch.Generator().manual_seed(plan.seed)
    least, kept, since = math.inf, head.state_dict(), 0
    for _ in range(plan.epochs):
        for rows in (torch.randperm(len(states) - held, generator=generator) + held).split(BATCH):
            with torch.enable_grad():
                loss = nn.functional.cross_entropy(head(states[rows]), target[rows])
                optimizer.zero_grad()
                loss.backward()
            optimizer.step()
        with torch.no_grad():
            now = float(nn.functional.cross_entropy(head(states[:held]), target[:held]))
        if now < least - 1e-4:
            least, kept, since = now, {name: part.clone() for name, part in head.state_dict().items()}, 0
        elif (since := since + 1) == PATIENCE:
            break
    head.load_state_dict(kept)
    right = float((head.stride(states[:held]) == best[:held]).float().mean())
    model.attachments["horizon"] = head.to(model.device, model.dtype).eval().requires_grad_(False)
    return head, right


def _write(model: Model, tasks: Sequence[Task], rule: Strides, split: str, plan: HorizonChoice) -> Written:
    passes, tokens, slots = [], 0, 0
    for task in tasks:
        batch = task.examples(model, plan.questions, seed=plan.seed, split=split, fewer=True)
        start, end = int(batch.positions["completion"].min()), batch.clean.shape[1]
        for rows in batch.clean[:, :start].split(ROWS):
            run = decode(model, rows, end - start, sampler=rule)
            passes.append(run.passes.cpu())
            tokens, slots = tokens + len(rows) * (end - start), slots + run.slots
    made = torch.cat(passes)
    what = (f"elastic from {rule.least}" if rule.least > 1 else "elastic") if rule.elastic else f"of {rule.length}"
    return Written(what, None, rule.least, split, tokens / int(made.sum()), slots / tokens, made)
