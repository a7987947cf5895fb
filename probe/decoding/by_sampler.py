"""The base of writers that use a `Sampler`: which sampler a run has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probe.decoding.spelling import with_ids
from probe.decoding.writer import Rule, Writer, refused
from probe.paradigms.sampler import Sampler

if TYPE_CHECKING:
    from probe.models.model import Model


class BySampler(Writer[Sampler]):
    """Writes with a `Sampler`, or the name of its order; by default with the one that the catalog declares for the
    model."""

    kind = Sampler

    def rule(self, model: Model, asked: str | Rule | None, steps: int | None) -> Sampler:
        if asked is not None and not isinstance(asked, str | Sampler):
            raise refused(
                model,
                asked,
                "a Sampler: strides are how FLUID models write, and flowing how flows do",
                "Pass for example sampler='confidence'.",
            )
        own = model.entry.sampler if model.entry is not None else None
        rule = Sampler(asked) if isinstance(asked, str) else asked or own or Sampler()
        return with_ids(model, rule).with_steps(steps)

    def most_passes(self, rule: Sampler, length: int) -> int:
        """Every pass writes at least one token, or the number of steps is given; remasking may take one more."""
        return max(length, rule.steps or 0) + (rule.remask is not None)

    def approximates(self, rule: Sampler) -> str:
        return rule.cache or ""

    def in_steps(self, model: Model, steps: int, *, draws: bool = False) -> Sampler:
        return Sampler("random", steps=steps, temperature=1.0) if draws else Sampler("confidence", steps=steps)
