"""Questions: what a model had in it at the slots that answer, one row a question, for every model of a pair.

Most measures ask the same thing: show each model the batch as its reading shows it, look at the residual stream where
the answer is read, and make one figure an example. Asking at that slot alone settles three matters at once. It is where
the two twins hold comparable things: with a shift on both sides the same input token, and without one the mask at i
beside the AR model's i - 1. It is never a slot whose target is in sight, where a diffusion model's logits were never
trained. And it is small: one slot a question, so that a 7B model's whole residual stream over a thousand questions
fits in memory.

    asked = questions(model, batch, READ_SITES, reading="prefix")       # one forward pass
    lens.read(model, batch, asked=asked)                                # and no more for what is made of it
    residual.contributions(model, batch, asked=asked)

A reading may ask about an example several times. Draws of random masks are averaged within an example; the steps of a
decoding run never are: they become an axis of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analyses.statistics.contrasts import compared
from analyses.statistics.per_example import PerExample
from probe.errors import TraceError
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading, TrajectoryReading, named
from probe.readings.by_role import roles
from probe.tasks import Batch
from probe.tracing import record

if TYPE_CHECKING:
    import xarray

READ_SITES = ("resid_pre", "z", "attn_out", "mlp_out", "final_norm")
"""What all measures of this kind need together."""


@dataclass(frozen=True, eq=False)
class Questions:
    """A trace at the slots that answer, and what was asked there."""

    model: Model
    batch: Batch
    reading: Reading
    trace: xarray.Dataset
    vocabulary: int | None = None  # ids that both twins have

    def __len__(self) -> int:
        return self.trace.sizes["example"]

    @property
    def example(self) -> Tensor:
        """Which example of the batch each question asks about."""
        return torch.as_tensor(self.trace["of_example"].values)

    @property
    def target(self) -> Tensor:
        return self.batch.target.cpu()[self.example]

    @property
    def distractor(self) -> Tensor:
        return self.batch.distractor.cpu()[self.example]

    def at(self, site: str) -> Tensor:
        """A site at the slot that answers: question × [layer] × [head] × feature."""
        if site not in self.trace:
            raise TraceError(
                f"the trace of {self.model.name!r}",
                expected=f"one that holds {site!r}",
                found=", ".join(map(str, self.trace.data_vars)),
                remedy="Record it with sites=analyses.questions.READ_SITES, positions='read'.",
            )
        return torch.from_numpy(self.trace[site].squeeze("position").values)

    def per_example(self, values: Tensor | np.ndarray, **axes: Iterable) -> PerExample:
        """One figure an example from one a question: the mean over draws, or a step axis."""
        stepped = isinstance(self.reading, TrajectoryReading)
        step = self.trace["draw"].values if stepped else None
        return PerExample.from_questions(values, self.example, len(self.batch), step=step, **axes)

    def chunks(self, size: int) -> Iterator[slice]:
        return (slice(at, at + size) for at in range(0, len(self), max(1, size)))


def questions(
    model: Model,
    batch: Batch,
    sites: Iterable[str] = READ_SITES,
    *,
    reading: str | Reading = "prefix",
    trace: xarray.Dataset | None = None,
    vocabulary: int | None = None,
    **how: Any,
) -> Questions:
    """Ask a model once, and keep `sites` where it answers. `trace`: one that was recorded so before."""
    reading = named(reading)
    if trace is None:
        trace = record(model, batch, tuple(sites), reading=reading, positions="read", **how)
    elif "of_example" not in trace or trace.sizes.get("position", 1) != 1:
        raise TraceError(
            "the trace given",
            expected="one recorded through a reading at positions='read'",
            found=f"positions {trace.sizes.get('position')}, coordinates {', '.join(map(str, trace.coords))}",
            remedy="probe.record(model, batch, sites, reading=…, positions='read').",
        )
    return Questions(model, batch, reading, trace, vocabulary)


def asked_of(
    models: Model | Pair,
    batch: Batch,
    sites: Iterable[str],
    reading: str | Reading,
    asked: Mapping[str, Questions] | Questions | None,
    square: bool = False,
) -> dict[str, Questions]:
    """The questions to every role: those given, or asked now."""
    if asked is not None:
        return {"model": asked} if isinstance(asked, Questions) else dict(asked)
    vocabulary = models.vocabulary if isinstance(models, Pair) else None
    return {
        role: questions(model, batch, sites, reading=how, vocabulary=vocabulary)
        for role, (model, how) in roles(models, reading, square=square).items()
    }


def tabled(
    asked: Mapping[str, Questions], measure: Callable[[Questions], PerExample], **labels: Any
) -> tuple[pd.DataFrame, dict[str, PerExample]]:
    """A measure of every role, and every role less the AR model, paired by example, with p and q."""
    made = {role: measure(each) for role, each in asked.items()}
    return compared(made, {role: each.model.name for role, each in asked.items()}, _task(asked), **labels), made


def _task(asked: Mapping[str, Questions]) -> str:
    return next(iter(asked.values())).batch.task
