"""Answer states: each model's activations at the slots that predict the answers, one row per question.

Most measures work alike: they run each model on the batch under its reading, take the residual stream at the slot that
predicts the answer, and compute one number per example. Keeping that slot alone has three advantages:

- The two twins are comparable there. If both shift, it is the same input token; if the twin does not, its mask at i is
compared with the AR model's token at i - 1. - Its logits were always trained. A diffusion model's logits at a slot
whose target is visible never were. - It is small. With one slot per question, a 7B model's whole residual stream over a
thousand questions fits in memory.

    states = answer_states(pair, batch, reading="prefix")        # one forward pass per model
    lens.logit_lens(pair, batch, states=states)                  # and no further pass for these
    activations.contributions(pair, batch, states=states)

A reading may make several questions of an example. Draws of random masks are averaged within an example. The steps of a
decoding run are not: they become an axis of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

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
class AnswerStates:
    """A trace of one model at the answers' slots, with its batch and reading."""

    model: Model
    batch: Batch
    reading: Reading
    trace: xarray.Dataset
    vocabulary: int | None = None  # ids that both twins have

    def __len__(self) -> int:
        return self.trace.sizes["example"]

    @property
    def example(self) -> Tensor:
        """The example of the batch that each question is about."""
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
                remedy="Make it with analyses.activations.answer_states, whose READ_SITES serve every measure.",
            )
        return torch.from_numpy(self.trace[site].squeeze("position").values)

    def per_example(self, values: Tensor | np.ndarray, **axes: Iterable) -> PerExample:
        """One number per example from one per question: the mean over draws, or a step axis."""
        stepped = isinstance(self.reading, TrajectoryReading)
        step = self.trace["draw"].values if stepped else None
        return PerExample.from_questions(values, self.example, len(self.batch), step=step, **axes)

    def chunks(self, size: int) -> Iterator[slice]:
        return (slice(at, at + size) for at in range(0, len(self), max(1, size)))


GivenStates = Mapping[str, AnswerStates] | AnswerStates | None
"""What measures take as `states=`: those of a model, those of a pair by role, or None, which records them now."""


@overload
def answer_states(
    models: Model,
    batch: Batch,
    sites: Iterable[str] = ...,
    *,
    reading: str | Reading = ...,
    square: bool = ...,
    batch_size: int | None = ...,
) -> AnswerStates: ...


@overload
def answer_states(
    models: Pair,
    batch: Batch,
    sites: Iterable[str] = ...,
    *,
    reading: str | Reading = ...,
    square: bool = ...,
    batch_size: int | None = ...,
) -> dict[str, AnswerStates]: ...


def answer_states(
    models: Model | Pair,
    batch: Batch,
    sites: Iterable[str] = READ_SITES,
    *,
    reading: str | Reading = "prefix",
    square: bool = False,
    batch_size: int | None = None,
) -> AnswerStates | dict[str, AnswerStates]:
    """Run a model once over a batch and keep `sites` at the slots that answer; of a pair, those of each model by role.

    reading     of the diffusion models; AR models always use their own
    square      also the two other cells of a pair's 2×2: each twin's weights under the other's attention mask
    batch_size  questions in one forward pass
    """
    vocabulary = models.vocabulary if isinstance(models, Pair) else None
    found = {
        role: _recorded(model, batch, sites, how, vocabulary, batch_size)
        for role, (model, how) in roles(models, reading, square=square).items()
    }
    return found["model"] if isinstance(models, Model) else found


def _recorded(
    model: Model,
    batch: Batch,
    sites: Iterable[str],
    reading: Reading,
    vocabulary: int | None,
    batch_size: int | None,
) -> AnswerStates:
    trace = record(model, batch, tuple(sites), reading=reading, positions="read", batch_size=batch_size)
    return AnswerStates(model, batch, reading, trace, vocabulary)


def from_trace(
    model: Model, batch: Batch, reading: str | Reading, trace: xarray.Dataset, *, vocabulary: int | None = None
) -> AnswerStates:
    """The same from a recorded trace, which must hold exactly the answers' slots."""
    if "of_example" not in trace or trace.sizes.get("position", 1) != 1:
        raise TraceError(
            "the trace given",
            expected="one recorded through a reading at positions='read'",
            found=f"positions {trace.sizes.get('position')}, coordinates {', '.join(map(str, trace.coords))}",
            remedy="probe.record(model, batch, sites, reading=…, positions='read').",
        )
    return AnswerStates(model, batch, named(reading), trace, vocabulary)


def states_of(
    models: Model | Pair,
    batch: Batch,
    sites: Iterable[str],
    reading: str | Reading,
    given: GivenStates,
    square: bool = False,
) -> dict[str, AnswerStates]:
    """The states of every role: those given, or recorded now. A model alone is called "model"."""
    if given is None and isinstance(models, Pair):
        return answer_states(models, batch, sites, reading=reading, square=square)
    if given is None:
        given = answer_states(models, batch, sites, reading=reading)
    return {"model": given} if isinstance(given, AnswerStates) else dict(given)


def tabled(
    states: Mapping[str, AnswerStates], measure: Callable[[AnswerStates], PerExample], **labels: str
) -> tuple[pd.DataFrame, dict[str, PerExample]]:
    """A measure of every role, and the difference of every role from the AR model, paired by example, with p and q."""
    made = {role: measure(each) for role, each in states.items()}
    names = {role: each.model.name for role, each in states.items()}
    return compared(made, names, next(iter(states.values())).batch.task, **labels), made
