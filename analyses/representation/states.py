"""Two models' states of the same tokens, put beside each other.

Which slot of one model belongs to which slot of the other depends on what stands there. Where both models shift, the
same input token stands at the same slot, hidden or not: align by index. A model without shift answers for the token at
i from the mask at i; its AR twin answers for it from the token at i - 1. Those two slots answer the same question and
are put together, as `masked`. What the model without shift holds at i - 1 is reported apart, as `before a mask`. Clean
slots are always aligned by index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from probe.errors import TraceError
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading
from probe.readings.by_role import roles
from probe.tasks import Batch
from probe.tracing import record

if TYPE_CHECKING:
    import xarray

SITE = "resid_post"
CLEAN, MASKED, BEFORE = "clean", "masked", "before a mask"


@dataclass(frozen=True, eq=False)
class Beside:
    """Tokens of two traces: their states (token × layer × feature) and which example and group each belongs to."""

    a: NDArray
    b: NDArray
    example: NDArray
    group: NDArray

    @cached_property
    def groups(self) -> list[str]:
        return [name for name in (CLEAN, MASKED, BEFORE) if (self.group == name).any()]

    def of(self, group: str) -> Beside:
        chosen = self.group == group
        return Beside(self.a[chosen], self.b[chosen], self.example[chosen], self.group[chosen])

    def without(self, a: NDArray, b: NDArray) -> Beside:
        """Without some dimensions (feature, bool) of each model, set to 0."""
        return Beside(np.where(a, 0, self.a), np.where(b, 0, self.b), self.example, self.group)


def traces_of(
    models: Model | Pair, batch: Batch, reading: str | Reading, given: Mapping[str, xarray.Dataset] | None = None
) -> dict[str, xarray.Dataset]:
    """The residual stream after every layer, at every slot that each model's reading shows it."""
    if given is not None:
        return dict(given)
    return {role: record(model, batch, SITE, reading=how) for role, (model, how) in roles(models, reading).items()}


def in_pairs(traces: Mapping[str, xarray.Dataset]) -> Iterator[tuple[str, str, Beside]]:
    """The AR model beside every other; a model alone beside itself."""
    first = "ar" if "ar" in traces else next(iter(traces))
    for role, trace in traces.items():
        if role != first or len(traces) == 1:
            yield first, role, beside(traces[first], trace)


def beside(a: xarray.Dataset, b: xarray.Dataset) -> Beside:
    """The tokens of two traces of the same examples, aligned; `a` is the AR model's, or another that shifts."""
    first, second = (np.moveaxis(each[SITE].values, 2, 1) for each in (a, b))  # example × position × layer × feature
    length = min(first.shape[1], second.shape[1])
    hidden_a, hidden = (_hidden(each)[:, :length] for each in (a, b))
    texts = [each["tokens"].values[:, :length] for each in (a, b)]
    _refuse_other_texts(texts[0], texts[1], hidden_a, hidden)
    seen = ~hidden_a & ~hidden
    if a.attrs["shift"] == b.attrs["shift"]:
        parts = [_group(first, second, seen, 0, CLEAN), _group(first, second, hidden, 0, MASKED)]
    else:
        answered, before = np.zeros_like(hidden), np.zeros_like(hidden)
        answered[:, 1:] = hidden[:, 1:] & ~hidden_a[:, :-1]
        before[:, :-1] = answered[:, 1:]
        parts = [
            _group(first, second, seen & ~before, 0, CLEAN),
            _group(first, second, answered, -1, MASKED),
            _group(first, second, seen & before, 0, BEFORE),
        ]
    return Beside(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _hidden(trace: xarray.Dataset) -> NDArray:
    """Where no token could be read (example × position): masks, and what a flow sees as noise."""
    masks = trace["mask_state"].values == 1
    return masks | (trace["place_tau"].values < 1) if "place_tau" in trace else masks


def _group(a: NDArray, b: NDArray, chosen: NDArray, back: int, name: str) -> tuple[NDArray, ...]:
    """The tokens of b that are chosen, with those of a as many slots from them."""
    example, place = chosen.nonzero()
    return a[example, place + back], b[example, place], example, np.full(len(example), name, dtype=object)


def _refuse_other_texts(a: NDArray, b: NDArray, hidden_a: NDArray, hidden_b: NDArray) -> None:
    if len(a) == len(b) and not ((a != b) & ~hidden_a & ~hidden_b).any():
        return
    raise TraceError(
        "two traces to be compared",
        expected="the same visible tokens in both",
        found=f"{len(a)} and {len(b)} texts" + (" that differ" if len(a) == len(b) else ""),
        remedy="Record both from one batch, by a reading that shows each example once: prefix or one_mask.",
    )
