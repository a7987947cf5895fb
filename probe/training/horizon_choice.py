"""Elastic Horizons against their rivals: the frontier of passes and slots, and the choice of a head.

A FLUID model can decide how far to draft in three ways: always K tokens, until a draft is less sure than γ, or as far
as a horizon head says. All write the same text; they differ in tokens per pass, and in slots computed for each token. A
head depends on its target (τ, or the cost c of a draft: `probe.training.horizon_fit`), and no training loss says which
is best. So everything that can be set is chosen on the calibration split, and reported on the test split:

    found = choose_horizon(model, [OfTask(probe.task("countdown"))], HorizonChoice(taus=(0.5, 1.0, 2.0)))
    found.chosen.rule, found.rivals, found.every

For each fixed length K, of every family (shorter fixed lengths are one) the rule with the fewest slots is taken among
those that are no slower: that make at most 1% more passes. Since verified texts are the same under every rule, they are
written once, and hundreds of rules are counted from one look at them (`probe.decoding.foreseen`). With `unverified`,
some rules that skip the check are decoded, too: there a faster rule changes the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.decoding import ELASTIC, Strides, decode
from probe.decoding.foreseen import Foreseen, counted, foresee
from probe.errors import ProbeError
from probe.paradigms import Fluid
from probe.training.horizon_fit import AcceptedLength, MeanLoss, Prompts, Source, Target, fitted, own_text

if TYPE_CHECKING:
    from probe.models.model import Model
    from probe.paradigms.horizon import Horizon

FIXED = (1, 2, 3, 4, 6, 8, 12, 16)
RIVALS = (2, 3, 4, 8, 16)  # the fixed lengths that other rules are held against, and the limits of these
GAMMAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LEAST = (1, 2, 4)
SLACK = 0.01  # how many more passes, as a share, a rule may make that is called no slower
ROWS = 64  # texts written side by side


@dataclass(frozen=True)
class HorizonChoice:
    """The `taus` and `costs` to try; the number of training `texts` per source, and of `questions` to write."""

    taus: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 2.8)
    costs: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    texts: int = 2000
    questions: int = 300
    unverified: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.targets:
            raise ProbeError("a horizon's targets", expected="at least one τ or cost", found="none",
                             remedy="Such as taus=(0.5, 1.0).")  # fmt: skip

    @property
    def targets(self) -> list[Target]:
        return [*map(MeanLoss, self.taus), *map(AcceptedLength, self.costs)]


@dataclass(frozen=True, eq=False)
class Written:
    """The result of one rule on a split; `passes` and `slots` are by question, `tokens` their lengths."""

    family: str  # "fixed", "γ", "τ" or "c"
    rule: Strides
    split: str
    tokens: Tensor
    passes: Tensor
    slots: Tensor
    target: Target | None = None
    told: float | None = None  # how often the head tells the exact length at held-out anchors
    right: str = ""  # of unverified text, in words

    @property
    def tokens_a_pass(self) -> float:
        return float(self.tokens.sum() / self.passes.sum())

    @property
    def slots_a_token(self) -> float:
        return float(self.slots.sum() / self.tokens.sum())

    def row(self) -> dict[str, str]:
        """In words, for a table."""
        return {
            "strides": self.rule.length_in_words,
            "γ": f"{self.rule.gamma:g}" if self.rule.gamma else "–",
            "head": "–" if self.target is None else str(self.target),
            "told exactly": "–" if self.told is None else f"{self.told:.0%}",
            "tokens a pass": in_words(self.tokens, self.passes),
            **({"slots a token": in_words(self.slots, self.tokens)} if len(self.slots) else {"right": self.right}),
        }


@dataclass(frozen=True)
class Rival:
    """A rule beside a fixed length that it is no slower than, on the test split."""

    fixed: Written
    other: Written
    as_fast: bool  # on the calibration split; if no rule of the family is, the fastest is shown

    def row(self) -> dict[str, str]:
        beside = f"{self.fixed.rule.length}" if self.as_fast else f"{self.fixed.rule.length} (none is as fast)"
        more = {"passes": (self.other.passes, self.fixed.passes), "slots": (self.other.slots, self.fixed.slots)}
        paired = {name: in_words(ours - theirs, theirs, percent=True) for name, (ours, theirs) in more.items()}
        return {"beside strides of": beside, **self.other.row(), **paired}


@dataclass(frozen=True)
class Chosen:
    """Every rule on the test split, the rivals of fixed lengths, and the chosen elastic rule, whose head is the model's
    attachment."""

    every: list[Written]
    rivals: list[Rival]
    unverified: list[Written]
    chosen: Written

    @property
    def fixed(self) -> list[Written]:
        return [one for one in self.every if one.family == "fixed"]


def choose_horizon(
    model: Model,
    sources: Sequence[Source],
    plan: HorizonChoice = HorizonChoice(),
    *,
    tell: Callable[[object], object] = lambda target: None,
) -> Chosen:
    """Fit a head for each target, choose on the calibration split, and report on the test split. `tell` is called after
    every head."""
    if not isinstance(model.paradigm, Fluid):
        raise ProbeError(
            f"a horizon for model {model.name!r}", expected="a FLUID model", found=f"a {model.paradigm.name} one",
            remedy="Only strides have a horizon.",
        )  # fmt: skip
    seen, heads = own_text(model, sources, plan.texts, plan.seed), {}
    for target in plan.targets:
        heads[target] = fitted(model, seen, target, seed=plan.seed)
        tell(target)
    calibration, test = (_every(model, sources, heads, split, plan) for split in ("calibration", "test"))
    best = cheapest([one for one in calibration if one.rule.elastic and one.rule.least < one.rule.most])
    assert best.target is not None  # elastic ones alone were asked
    model.attachments["horizon"] = heads[best.target][0]
    rivals = list(_rivals(calibration, test))
    unverified = _unchecked(model, sources, plan) if plan.unverified else []
    return Chosen(test, rivals, unverified, test[calibration.index(best)])


def cheapest(tried: Sequence[Written]) -> Written:
    """Of the rules that are no slower than the fastest, the one with the fewest slots."""
    best = max(tried, key=lambda one: one.tokens_a_pass)
    return fewest_slots([one for one in tried if no_slower(one, best)])


def no_slower(one: Written, other: Written) -> bool:
    """Whether a rule makes at most SLACK more passes than another, on the same questions."""
    return int(one.passes.sum()) <= (1 + SLACK) * int(other.passes.sum())


def _rivals(calibration: list[Written], test: list[Written]) -> Iterator[Rival]:
    """For each fixed length, what every other family offers: chosen on one split, shown on the other."""
    for length in RIVALS:
        at = next(n for n, one in enumerate(calibration) if one.family == "fixed" and one.rule.length == length)
        for family in dict.fromkeys(one.family for one in calibration):
            own = [one for one in calibration if one.family == family]
            as_fast = [one for one in own if no_slower(one, calibration[at])]
            found = fewest_slots(as_fast) if as_fast else max(own, key=lambda one: one.tokens_a_pass)
            if found is not calibration[at]:
                yield Rival(test[at], test[calibration.index(found)], bool(as_fast))


def fewest_slots(rules: Sequence[Written]) -> Written:
    return min(rules, key=lambda one: one.slots_a_token)


def ratio(over: Tensor, under: Tensor) -> tuple[float, float]:
    """Σ over / Σ under over questions, and half of its 95% interval (delta method)."""
    over, under = over.double(), under.double()
    found = over.sum() / under.sum()
    rest = over - found * under
    half = 1.96 * (len(rest) / max(1, len(rest) - 1) * (rest**2).sum()).sqrt() / under.sum()
    return float(found), float(half)


def in_words(over: Tensor, under: Tensor, *, percent: bool = False) -> str:
    """Such a ratio with its interval, in words."""
    found, half = ratio(over, under)
    if percent:
        return f"{found:+.0%} [{found - half:+.0%}, {found + half:+.0%}]"
    return f"{found:.2f} [{found - half:.2f}, {found + half:.2f}]"


Heads = dict[Target, tuple["Horizon", float]]


def _every(model: Model, sources: Sequence[Source], heads: Heads, split: str, plan: HorizonChoice) -> list[Written]:
    """Every rule on a split, in an order that does not depend on the split."""
    asked = [source.prompts(model, plan.questions, split, plan.seed) for source in sources]
    seen = [foresee(model, one.given, one.length) for one in asked]
    tokens = torch.cat([torch.full((len(one.given),), one.length) for one in asked])
    return [
        Written(family, rule, split, tokens, *_counted(seen, rule, found and found[0]), target, found and found[1])
        for family, rule, target in _rules(heads)
        for found in [heads[target] if target is not None else None]
    ]


def _rules(heads: Heads) -> Iterator[tuple[str, Strides, Target | None]]:
    for length in FIXED:
        yield "fixed", Strides(length), None
    for length in RIVALS:
        for gamma in GAMMAS:
            yield "γ", Strides(length, threshold=gamma), None
    for target in heads:
        for most in RIVALS:
            for least in LEAST:
                if least <= most:
                    family = "τ" if isinstance(target, MeanLoss) else "c"
                    yield family, Strides(ELASTIC, least=least, most=most), target


def _counted(seen: Sequence[Foreseen], rule: Strides, head: Horizon | None) -> tuple[Tensor, Tensor]:
    passes, slots = zip(*(counted(one, rule, head) for one in seen), strict=True)
    return torch.cat(passes).cpu(), torch.cat(slots).cpu()


def _unchecked(model: Model, sources: Sequence[Source], plan: HorizonChoice) -> list[Written]:
    """Rules that skip the check, on the test split: fixed lengths and the chosen head, with γ as published and
    lower."""
    asked = [source.prompts(model, plan.questions, "test", plan.seed) for source in sources]
    rules = [("fixed", Strides(length, verify=False)) for length in RIVALS]
    rules += [("γ", Strides(16, threshold=gamma, verify=False)) for gamma in (0.3, 0.5, 0.7)]
    rules += [("elastic", Strides(ELASTIC, verify=False)), ("elastic", Strides(ELASTIC, threshold=0.5, verify=False))]
    return [_decoded(model, asked, family, rule) for family, rule in rules]


def _decoded(model: Model, asked: Sequence[Prompts], family: str, rule: Strides) -> Written:
    """One rule, decoded; `right` says how many answers are, or how many tokens of a running text are those that
    autoregression would have written in their place. Slots are not counted: rows of a batch wait for each other."""
    tokens, passes, good, asked_of = [], [], [], []
    for one in asked:
        runs = [decode(model, rows, one.length, sampler=rule) for rows in one.given.split(ROWS)]
        texts = torch.cat([run.tokens for run in runs])
        tokens.append(torch.full((len(texts),), one.length))
        passes.append(torch.cat([run.passes.cpu() for run in runs]))
        judged = _as_autoregression(model, texts, one.length) if one.check is None else one.check(texts)[:, None]
        good.append(judged.sum(1))
        asked_of.append(torch.full((len(texts),), judged.shape[1]))
    right = in_words(torch.cat(good), torch.cat(asked_of))
    return Written(family, rule, "test", torch.cat(tokens), torch.cat(passes), torch.zeros(0), right=right)


@torch.no_grad()
def _as_autoregression(model: Model, texts: Tensor, length: int) -> Tensor:
    """Of the last `length` tokens of texts, whether each is greedy autoregression's after those before it."""
    logits = model.logits(texts)[:, -length - 1 : -1]
    logits[..., model.paradigm.given_mask()] = -torch.inf
    return (logits.argmax(-1) == texts[:, -length:]).cpu()
