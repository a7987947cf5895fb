"""A sampler: in which order masked positions are written, and how many per step.

Masked diffusion leaves the order free. The orders of the public families are `random` (each masked position with
probability 1/(steps left), as in DiffuLLaMA), `confidence` (the highest first), `margin` (the largest gap between the
two best), `entropy` (the lowest first) and `left_to_right`. `threshold` writes every position above this confidence, at
least one per step; `block` fills one block of positions before the next.

`schedule` decides how many positions a step writes. "even" divides the masked positions among the steps left. "llada"
fixes the numbers beforehand: every block gets the same number of steps, every step of a block the same number of
positions, and the first steps take the remainder; random order, too, then writes exactly these numbers. "dream" follows
Dream's times, from 1 down to a thousandth in even steps: the step from t to s writes a share 1 - s/t of the masked
positions, rounded down, and the last step the rest. `order_temperature` (Dream's alg_temp) samples the order instead of
taking the best: a position's probability to come first grows with its score.

`entropy_bound` decides instead how many positions are certain enough to be written together (the EB sampler, which
DiffusionGemma uses): those of the lowest entropies whose sum, without the largest of them, is at most the bound. That
sum bounds how much the tokens of these positions could tell of each other, in nats. At a bound of 0 one is written at a
time.

With a temperature, `top_k` samples from the k best tokens of a position, and `top_p` from the fewest whose
probabilities add up to it. The confidence of a position stays the model's own probability, without temperature and
truncation, as in LLaDA. Tokens in `suppress` are never written (such as the end of text, if an answer should fill its
length); the probabilities are renormalised over the others. A `stop` token ends a text: nothing after the first one is
written any more.

`guidance` w runs the model twice, the second time with the prompt masked, and takes u + (w + 1)(c - u) as logits: c
those with the prompt, u those without (LLaDA's unsupervised classifier-free guidance). A pass then costs twice as much.

`remask` masks written tokens again while others are written (ReMDM, see `probe.paradigms.remasking`): its schedule then
decides how many positions a step writes and remasks, each independently.

`cache` keeps keys and values under full attention, where that is not exact (Fast-dLLM). The first pass in a block
computes the whole text. Later passes compute only a part, and use the cached keys and values of the rest: "prefix"
computes the block and all after it, "dual" only the block.

    Sampler("random", steps=32, temperature=1.0, top_p=0.9, remask=Remasking("cap", eta=0.05))
    Sampler("confidence", steps=8, block=16, schedule="llada", guidance=1.5, stop=("</s>",))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from probe.errors import ProbeError, nearest
from probe.paradigms.remasking import Remasking

ORDERS = ("confidence", "margin", "entropy", "random", "left_to_right")
SCHEDULES = ("even", "dream", "llada")
CACHES = ("prefix", "dual")
PIECE = 2**22  # logits that are looked at together
DREAM_END = 1e-3  # the time at which Dream's last step ends


@dataclass(frozen=True)
class Sampler:
    """`steps` is the number of forward passes (None: one per token; at least one per block); `temperature` 0 takes the
    best token. Tokens are ids, or words as the model's vocabulary spells them."""

    order: str = "confidence"
    steps: int | None = None
    threshold: float | None = None
    block: int | None = None
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    schedule: str = "even"
    order_temperature: float = 0.0
    suppress: tuple[int | str, ...] = ()
    stop: tuple[int | str, ...] = ()
    guidance: float = 0.0
    remask: Remasking | None = None
    cache: str | None = None
    entropy_bound: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "remask", _remasking(self.remask))
        for name in ("suppress", "stop"):  # a spec writes lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        cache = self.cache or CACHES[0]
        named = (("sampler", self.order, ORDERS), ("schedule", self.schedule, SCHEDULES), ("cache", cache, CACHES))
        for what, said, known in named:
            if said not in known:
                raise ProbeError(
                    f"{what} {said!r}",
                    expected="one of " + ", ".join(known),
                    found=repr(said),
                    remedy=nearest(said, known),
                )
        self._refuse_misfits()
        lowest_of = {"steps": 1, "block": 1, "temperature": 0, "threshold": 0, "top_k": 1, "order_temperature": 0,
                     "guidance": 0, "entropy_bound": 0}  # fmt: skip
        for name, lowest in lowest_of.items():
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise ProbeError(
                    f"sampler's {name}", expected=f"at least {lowest}", found=str(value), remedy="Choose a larger one."
                )

    def _refuse_misfits(self) -> None:
        """Refuse options without effect, and impossible ones."""
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ProbeError(
                "sampler's top_p",
                expected="above 0, at most 1",
                found=str(self.top_p),
                remedy="Choose for example 0.9.",
            )
        if not self.temperature and (self.top_k is not None or self.top_p is not None):
            raise ProbeError(
                "sampler's top_k and top_p",
                expected="a temperature: they only affect sampling",
                found="temperature 0, which takes the best token",
                remedy="Give a temperature, or leave them out.",
            )
        if self.order_temperature and self.order in ("random", "left_to_right"):
            raise ProbeError(
                "sampler's order_temperature",
                expected="an order by scores: confidence, margin or entropy",
                found=self.order,
                remedy="Leave it out.",
            )
        if self.remask is not None:
            self._refuse_beside_remasking()
        if self.entropy_bound is not None:
            self._refuse_beside_a_bound()
        self._refuse_by_schedule()

    def _refuse_beside_remasking(self) -> None:
        said = (self.threshold, self.block, self.cache)
        if self.order != "random" or self.schedule != "even" or any(one is not None for one in said):
            raise ProbeError(
                "a sampler that remasks",
                expected="random order, the schedule 'even', no threshold, blocks or cache: each position decides "
                "independently",
                found=str(self),
                remedy="For example Sampler('random', steps=32, temperature=1.0, remask='cap').",
            )

    def _refuse_beside_a_bound(self) -> None:
        said = (self.steps, self.threshold, self.remask)
        if (
            self.order != "entropy"
            or self.schedule != "even"
            or self.order_temperature
            or any(one is not None for one in said)
        ):
            raise ProbeError(
                "a sampler with an entropy_bound",
                expected="the order 'entropy' and its own count: no steps, threshold, schedule, order_temperature or "
                "remasking",
                found=str(self),
                remedy="For example Sampler('entropy', entropy_bound=0.1).",
            )

    def _refuse_by_schedule(self) -> None:
        """Refuse a second option that decides how many positions a step writes."""
        without = {"even": (), "dream": ("threshold", "block"), "llada": ("threshold",)}[self.schedule]
        if any(getattr(self, name) is not None for name in without):
            raise ProbeError(
                f"schedule {self.schedule!r}",
                expected=f"no {' and no '.join(without)}: it decides how many positions a step writes"
                + (" of the whole answer" if self.schedule == "dream" else ""),
                found=str(self),
                remedy="Leave one of them out.",
            )

    def __str__(self) -> str:
        limits = {name: getattr(self, name) for name in ("steps", "threshold", "block")}
        parts = [f"{name} {value}" for name, value in limits.items() if value is not None]
        if self.schedule != "even":
            parts.append(f"{self.schedule}'s schedule")
        if self.order_temperature:
            parts.append(f"order T {self.order_temperature:g}")
        if self.remask is not None:
            parts.append(f"remask {self.remask}")
        if self.entropy_bound is not None:
            parts.append(f"up to {self.entropy_bound:g} nats together")
        if self.guidance:
            parts.append(f"guidance {self.guidance:g}")
        if self.cache:
            parts.append(f"{self.cache} cache, approximate")
        if self.suppress:
            parts.append("without " + " ".join(map(str, self.suppress)))
        if self.stop:
            parts.append("stop at " + " ".join(map(str, self.stop)))
        if self.temperature:
            parts.append(f"T {self.temperature:g}")
        parts += [f"{name} {value:g}" for name in ("top_k", "top_p") if (value := getattr(self, name)) is not None]
        return ", ".join([self.order, *parts])

    def with_steps(self, steps: int | None) -> Sampler:
        return self if steps is None else replace(self, steps=steps)


def _remasking(said: object) -> Remasking | None:
    """A schedule, or its kind alone, or its fields as plain data."""
    if said is None or isinstance(said, Remasking):
        return said
    if isinstance(said, str):
        return Remasking(said)
    if isinstance(said, Mapping):
        return Remasking(**said)
    raise ProbeError("sampler's remask", expected="a Remasking, or its kind", found=repr(said), remedy="Such as 'cap'.")


def allowed(logits: Tensor, rule: Sampler) -> Tensor:
    """Logits without the suppressed tokens."""
    if not rule.suppress:
        return logits
    return logits.index_fill(-1, torch.tensor(rule.suppress, device=logits.device), -torch.inf)


def trimmed(logits: Tensor, rule: Sampler) -> Tensor:
    """Logits with only the tokens that may be sampled."""
    if rule.top_p is not None:
        ranked, order = logits.sort(-1, descending=True)
        better = (
            (ranked / rule.temperature).softmax(-1).cumsum(-1).roll(1, -1)
        )  # the sum over all tokens that rank before
        better[..., 0] = 0
        logits = logits.masked_fill((better > rule.top_p).scatter(-1, order, better > rule.top_p), -torch.inf)
    if rule.top_k is not None:
        least = logits.topk(min(rule.top_k, logits.shape[-1]), dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    return logits


def piecewise(logits: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
    """What `of` makes of each position's logits, a few positions at a time: vocabularies are wide, and a second copy of
    all logits may not fit where the first does."""
    pieces = logits.flatten(0, -2).split(max(1, PIECE // logits.shape[-1]))
    return torch.cat([of(piece) for piece in pieces]).unflatten(0, logits.shape[:-1])


def choose(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """The token of each position: the best one, or a sample at a temperature.

    One number is drawn for a position, on the CPU, whatever the device and however wide the vocabulary: the token is
    where the shares, added up in order, pass it.
    """
    if temperature == 0:
        return logits.argmax(-1)
    uniform = torch.rand(logits.shape[:-1], generator=generator).to(logits.device).flatten()
    pieces = iter(uniform.split(max(1, PIECE // logits.shape[-1])))

    def drawn(piece: Tensor) -> Tensor:
        shares = (piece / temperature).softmax(-1).cumsum(-1)
        total = shares[:, -1]  # 1, but for rounding
        wanted = (next(pieces) * total).minimum(torch.nextafter(total, torch.zeros_like(total)))
        return torch.searchsorted(shares, wanted[:, None], right=True)[:, 0]

    return piecewise(logits, drawn)


def shares_of(logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The probability of some tokens, one a position, and that of the best."""
    whole = piecewise(logits, lambda piece: piece.logsumexp(-1))
    return (logits.gather(-1, tokens[..., None])[..., 0] - whole).exp(), (logits.amax(-1) - whole).exp()


def order_scores(order: str, logits: Tensor, generator: torch.Generator) -> Tensor:
    """A score for the order of positions (larger is earlier), from their logits."""
    shape = logits.shape[:-1]
    if order == "confidence":
        return shares_of(logits, logits.argmax(-1))[1]
    if order == "margin":
        best = piecewise(logits, lambda piece: piece.softmax(-1).topk(2, dim=-1).values.diff(dim=-1)[..., 0])
        return best.neg()
    if order == "entropy":
        return piecewise(logits, lambda piece: torch.special.entr(piece.softmax(-1)).sum(-1)).neg()
    if order == "left_to_right":
        return -torch.arange(shape[1], device=logits.device).expand(shape).float()
    return torch.rand(shape, generator=generator).to(logits.device)


def drawn_order(scores: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Scores whose order is sampled: of the positions left, each comes next with probability ∝ exp(score /
    temperature). (Gumbel noise on the scores does that.)"""
    if temperature == 0:
        return scores
    uniform = torch.rand(scores.shape, generator=generator).clamp_min(torch.finfo(torch.float32).tiny)
    return scores / temperature - (-uniform.log()).log().to(scores.device)


def share_at(step: int, steps: int) -> float:
    """The share of masked positions that a step of Dream's schedule writes."""
    times = torch.linspace(1, DREAM_END, steps + 1)
    return 1.0 if step >= steps - 1 else float(1 - times[step + 1] / times[step])


def first(scores: Tensor, eligible: Tensor, how_many: Tensor) -> Tensor:
    """The `how_many` (batch) eligible positions with the highest scores; ties go to the left."""
    ranked = scores.masked_fill(~eligible, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    rank = ranked.argsort(dim=-1)
    return eligible & (rank < how_many[:, None])


def within_bound(logits: Tensor, eligible: Tensor, bound: float) -> Tensor:
    """The eligible positions (batch × places) of the lowest entropies whose sum, without the largest, is at most the
    bound; ties go to the left."""
    entropy = order_scores("entropy", logits, torch.Generator()).neg().masked_fill(~eligible, torch.inf)
    ascending, place = entropy.sort(dim=-1, stable=True)
    before = ascending.cumsum(-1).roll(1, -1)
    before[..., 0] = 0
    return eligible & torch.zeros_like(eligible).scatter(1, place, before <= bound)
