"""Remasking: a masked model masks written tokens again during decoding, so that it can revise early ones (ReMDM).

In plain masked diffusion a written token is final, however wrong it looks later. ReMDM masks every written token again
with probability σ at each step, and writes correspondingly more, so that the number of masks at any time stays the
same: at the step from time t to s, with α = 1 - time,

    a written position is masked again with probability   σ
    a masked position is written with probability         (α_s - (1 - σ)·α_t) / (1 - α_t)

σ depends on the schedule, and is at most σ_max = min(1, (1 - α_s)/α_t):

    cap       η, but at most σ_max
    rescale   η·σ_max
    conf      σ_max times a softmax, over all written positions, of minus the probability that a token had when it was
              written: less likely tokens are remasked sooner (masked positions are written as if σ were 0)
    loop      plain masked diffusion until a share `level` is written at time `on`; then, until `off`, as many are
              remasked as are written, η of those written at each step; then plain again to the end

The published η (0.008, 0.015 and 0.02) are for 1,024 steps; an answer written in few steps needs larger ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from probe.errors import ProbeError, nearest

KINDS = ("cap", "rescale", "conf", "loop")
PUBLISHED = {"cap": 0.008, "rescale": 0.015, "conf": 1.0, "loop": 0.02}
LAST = 1e-5  # the time at which the last step ends


@dataclass(frozen=True)
class Remasking:
    """A schedule of σ. `eta` is η (None: as published); `on`, `off` and `level` are the loop's t_on, t_off, α_on."""

    kind: str = "cap"
    eta: float | None = None
    on: float = 0.55
    off: float = 0.05
    level: float = 0.9

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ProbeError(
                f"remasking {self.kind!r}", expected="one of " + ", ".join(KINDS), found=repr(self.kind),
                remedy=nearest(str(self.kind), KINDS),
            )  # fmt: skip
        if not 0 < self.share <= 1 or not 0 <= self.off < self.on < 1 or not 0 < self.level < 1:
            raise ProbeError(
                "remasking", expected="η above 0 and at most 1, off below on below 1, a level between 0 and 1",
                found=str(self), remedy="Leave them out to use the published ones.",
            )  # fmt: skip
        if self.kind == "conf" and self.eta is not None:
            raise ProbeError(
                "remasking by confidence", expected="no η: it follows from the confidences", found=f"η {self.eta:g}",
                remedy="Leave it out.",
            )  # fmt: skip
        if self.kind == "loop" and self.share * self.level > 1 - self.level:
            raise ProbeError(
                "remasking in a loop", expected=f"η of at most {(1 - self.level) / self.level:.3f}: what is remasked "
                "must be written again at once", found=f"η {self.share:g} at a level of {self.level:g}",
                remedy="Choose a smaller η, or a lower level.",
            )  # fmt: skip

    def __str__(self) -> str:
        return self.kind if self.kind == "conf" else f"{self.kind} η {self.share:g}"

    @property
    def share(self) -> float:
        """η."""
        return PUBLISHED[self.kind] if self.eta is None else self.eta

    def at(self, step: int, steps: int) -> Odds:
        """The probabilities of the step from time t to s."""
        each = (1 - LAST) / steps
        t = 1 - each * step
        if self.kind == "loop":
            return self._loop(t, t - each)
        before, after = 1 - t, 1 - t + each
        most = min(1.0, (1 - after) / before) if before > 0 else 1.0
        if self.kind == "conf":
            return Odds((after - before) / (1 - before), most)
        back = min(self.share, most) if self.kind == "cap" else self.share * most
        return Odds((after - (1 - back) * before) / (1 - before), back)

    def _loop(self, t: float, s: float) -> Odds:
        if t > self.on:
            rise = self.level / (1 - self.on)
            return _plain(1 - (1 - t) * rise, 1 - (1 - s) * rise)
        if t <= self.off:
            fall = (1 - self.level) / self.off
            return _plain(t * fall, s * fall)
        return Odds(self.share * self.level / (1 - self.level), self.share)


@dataclass(frozen=True)
class Odds:
    """The probability with which a masked position is written, and a written one (or all of them together) is
    remasked."""

    write: float
    take_back: float


def _plain(masked: float, masked_after: float) -> Odds:
    """For plain masked diffusion, from one share of masks to a smaller one."""
    return Odds(min(1.0, (masked - masked_after) / masked), 0.0)
