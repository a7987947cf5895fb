"""`Strides`: the rule of FLUID models (see `probe.decoding.fluid`)."""

from __future__ import annotations

from dataclasses import dataclass

from probe.errors import ProbeError
from probe.paradigms.inserted import LONGEST_BLOCK

ELASTIC = "elastic"
SURE = 0.9  # γ of drafting passes, as published
FLOOR = 4  # the default minimum of elastic strides, as published


@dataclass(frozen=True)
class Strides:
    """Strides of `length` tokens, or "elastic" ones of at least `least` and at most `most`.

    `verify` checks each against autoregression, and `overlap` does so in the pass that drafts the next. `threshold` is
    γ. If strides overlap, a stride ends before the first draft with confidence up to γ (None: no limit); otherwise a
    drafting pass leaves such drafts to the next pass (None: 0.9). With a `temperature` tokens are sampled exactly from
    autoregression's distribution, by speculative sampling. A text ends at the first final `stop` token.
    """

    length: int | str = 8
    threshold: float | None = None
    verify: bool = True
    least: int = 1
    overlap: bool = True
    temperature: float = 0.0
    most: int = LONGEST_BLOCK
    stop: tuple[int | str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", tuple(self.stop))  # a spec writes a list
        fits = self.length == ELASTIC or (isinstance(self.length, int) and self.length >= 1)
        if not fits or not 0 <= self.gamma <= 1 or not 1 <= self.least <= self.most <= LONGEST_BLOCK:
            raise ProbeError(
                "strides",
                expected="a length from 1 or 'elastic', a threshold from 0 to 1, a least from 1, and a most from there "
                f"to {LONGEST_BLOCK}",
                found=f"length {self.length}, threshold {self.threshold}, least {self.least}, most {self.most}",
                remedy="For example Strides(length=8, threshold=0.9).",
            )
        if self.temperature < 0 or (self.temperature and not self.overlaps):
            raise ProbeError(
                "strides at a temperature",
                expected="a temperature of at least 0, and with one above 0 verify and overlap",
                found=f"temperature {self.temperature:g}, verify {self.verify}, overlap {self.overlap}",
                remedy="Leave verify and overlap as they are.",
            )

    def __str__(self) -> str:
        parts = [f"elastic strides{self.bounds}" if self.elastic else f"strides of {self.length}"]
        if self.gamma or not self.overlaps:
            parts.append(f"γ {self.gamma:g}")
        if self.verify:
            parts.append(self.checked)
        if self.temperature:
            parts.append(f"T {self.temperature:g}")
        if self.stop:
            parts.append("stop at " + " ".join(map(str, self.stop)))
        return ", ".join(parts)

    @property
    def bounds(self) -> str:
        """The limits of elastic strides, in words, where they are not the widest."""
        least = f" from {self.least}" if self.least > 1 else ""
        return least + (f" up to {self.most}" if self.most < LONGEST_BLOCK else "")

    @property
    def length_in_words(self) -> str:
        """The length of its strides, with its limits."""
        return f"elastic{self.bounds}" if self.elastic else f"of {self.length}"

    @property
    def checked(self) -> str:
        """How strides are verified, in words."""
        if not self.verify:
            return "unverified"
        return "verified as the next is drafted" if self.overlap else "verified"

    @property
    def elastic(self) -> bool:
        return self.length == ELASTIC

    @property
    def longest(self) -> int:
        """The most tokens of a stride."""
        return self.most if self.elastic else int(self.length)

    @property
    def overlaps(self) -> bool:
        """Whether a pass checks one stride and drafts the next."""
        return self.verify and self.overlap

    @property
    def gamma(self) -> float:
        """γ, settled."""
        if self.threshold is None:
            return 0.0 if self.overlaps else SURE
        return self.threshold
