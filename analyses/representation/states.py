"""Two models' states of the same tokens, aligned.

Which slots correspond depends on their tokens and on the shift. If both models shift, slots are aligned by index,
hidden or not. A model without shift predicts the token at i from the mask at i; its AR twin predicts it from the token
at i - 1. Those two slots answer the same question and are aligned, as `masked`. The state of the model without shift at
i - 1 is reported separately, as `before a mask`. Clean slots are always aligned by index.

The alignment is known before a model runs. So a measure first selects its tokens (CKA: two per text), and only their
states are recorded: in a 7B model, 256 texts of 64 tokens have 6.6 GB of states, of which CKA reads 0.4.

    for first, role, tokens in in_pairs(asked(pair, batch, "prefix")):
        both = tokens[rows].states()
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from probe.errors import TraceError
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading
from probe.readings.by_role import roles
from probe.tasks import Batch
from probe.tracing import record
from probe.tracing.record import SLOTS_AT_ONCE

if TYPE_CHECKING:
    import xarray

SITE = "resid_post"
CLEAN, MASKED, BEFORE = "clean", "masked", "before a mask"
MOST_BYTES = 64_000_000  # of states held at a time where all of them are read


@dataclass(frozen=True, eq=False)
class Beside:
    """Tokens of two models: their states (token × layer × feature) and which example and group each belongs to."""

    a: NDArray
    b: NDArray
    example: NDArray
    group: NDArray

    def __getitem__(self, rows: NDArray) -> Beside:
        return Beside(self.a[rows], self.b[rows], self.example[rows], self.group[rows])

    def without(self, a: NDArray, b: NDArray) -> Beside:
        """Without some dimensions (feature, bool) of each model, set to 0."""
        return Beside(np.where(a, 0, self.a), np.where(b, 0, self.b), self.example, self.group)


class Source(Protocol):
    """One model's slots, and their states on request."""

    name: str
    shift: bool
    tokens: NDArray  # example × slot
    hidden: NDArray  # example × slot: where there is no readable token

    def states(self, example: NDArray, slot: NDArray) -> NDArray:
        """token × layer × feature, of some slots of some examples."""
        ...


class Recorded:
    """From a trace, which has the states of every slot."""

    def __init__(self, trace: xarray.Dataset, role: str = ""):
        self.name, self.shift = str(trace.attrs.get("model", role)), bool(trace.attrs["shift"])
        self.tokens = trace["tokens"].values
        masks = trace["mask_state"].values == 1
        self.hidden = masks | (trace["place_tau"].values < 1) if "place_tau" in trace else masks
        self._trace = trace

    def states(self, example: NDArray, slot: NDArray) -> NDArray:
        return np.moveaxis(self._trace[SITE].values, 2, 1)[example, slot]

    def every(self) -> Iterator[NDArray]:
        """All states, as token × layer × feature."""
        states = np.moveaxis(self._trace[SITE].values, 2, 1)
        yield states.reshape(-1, *states.shape[2:])


class Asked:
    """From a model under a reading: only the requested slots are recorded."""

    def __init__(self, model: Model, batch: Batch, reading: Reading):
        self.name, self.shift, self._model = model.name, model.shift, model
        self._canvas = reading.ask(model, batch).canvas
        tokens = self._canvas.tokens
        hidden = tokens == model.mask_id if model.mask_id is not None else torch.zeros_like(tokens, dtype=torch.bool)
        if self._canvas.soft is not None:
            hidden = hidden | (self._canvas.soft.tau.expand_as(tokens) < 1)
        self.tokens, self.hidden = tokens.cpu().numpy(), hidden.cpu().numpy()
        self._last: tuple[NDArray, NDArray] | None = None  # the last request, and its states

    def states(self, example: NDArray, slot: NDArray) -> NDArray:
        wanted = np.stack([example, slot])
        if self._last is None or not np.array_equal(self._last[0], wanted):
            self._last = wanted, self._recorded(example, slot)
        return self._last[1]

    def _recorded(self, example: NDArray, slot: NDArray) -> NDArray:
        """Each example's slots are its columns; an example with fewer slots is padded with slot 0."""
        examples, row = np.unique(example, return_inverse=True)
        order = np.argsort(row, kind="stable")
        counts = np.bincount(row)
        column = np.empty_like(row)
        column[order] = np.arange(len(row)) - np.repeat(counts.cumsum() - counts, counts)
        slots = np.zeros((len(examples), counts.max()), dtype=np.int64)
        slots[row, column] = slot
        trace = record(self._model, self._canvas[torch.from_numpy(examples)], SITE, positions=slots)
        return trace[SITE].values[row, :, column]

    def every(self) -> Iterator[NDArray]:
        """All states, as token × layer × feature, some texts at a time."""
        slots = self._canvas.slots
        text = 4 * slots * self._model.n_layers * self._model.d_model
        at_once = max(1, min(MOST_BYTES // text, SLOTS_AT_ONCE // slots))
        for start in range(0, len(self._canvas), at_once):
            yield from Recorded(record(self._model, self._canvas[start : start + at_once], SITE)).every()


def asked(
    models: Model | Pair, batch: Batch, reading: str | Reading, traces: Mapping[str, xarray.Dataset] | None = None
) -> dict[str, Recorded | Asked]:
    """Each role's slots: from a recorded trace, or from the model, which then runs when its states are needed."""
    if traces is not None:
        return {role: Recorded(trace, role) for role, trace in traces.items()}
    return {role: Asked(model, batch, how) for role, (model, how) in roles(models, reading).items()}


def traces_of(models: Model | Pair, batch: Batch, reading: str | Reading) -> dict[str, xarray.Dataset]:
    """The residual stream after every layer, at every slot, under each model's reading, by role."""
    return {role: record(model, batch, SITE, reading=how) for role, (model, how) in roles(models, reading).items()}


@dataclass(frozen=True, eq=False)
class Tokens:
    """Aligned tokens of two models: their example, their slot in each model, and their group."""

    sources: tuple[Source, Source]
    example: NDArray
    slots: NDArray  # 2 × token
    group: NDArray

    def __len__(self) -> int:
        return len(self.example)

    def __getitem__(self, rows: NDArray) -> Tokens:
        return Tokens(self.sources, self.example[rows], self.slots[:, rows], self.group[rows])

    @cached_property
    def groups(self) -> dict[str, NDArray]:
        """The tokens of each group that occurs."""
        found = {name: (self.group == name).nonzero()[0] for name in (CLEAN, MASKED, BEFORE)}
        return {name: rows for name, rows in found.items() if len(rows)}

    def states(self) -> Beside:
        """Both models' states of them."""
        a, b = (source.states(self.example, slot) for source, slot in zip(self.sources, self.slots, strict=True))
        return Beside(a, b, self.example, self.group)


def in_pairs(sources: Mapping[str, Source]) -> Iterator[tuple[str, str, Tokens]]:
    """The AR model with every other model; a single model with itself."""
    first = "ar" if "ar" in sources else next(iter(sources))
    for role, source in sources.items():
        if role != first or len(sources) == 1:
            yield first, role, aligned(sources[first], source)


def aligned(a: Source, b: Source) -> Tokens:
    """The tokens that two models hold of the same examples; `a` is the AR model, or another that shifts."""
    length = min(a.tokens.shape[1], b.tokens.shape[1])
    hidden_a, hidden = (each.hidden[:, :length] for each in (a, b))
    _refuse_other_texts(a.tokens[:, :length], b.tokens[:, :length], hidden_a, hidden)
    seen = ~hidden_a & ~hidden
    if a.shift == b.shift:
        parts = [_group(seen, 0, CLEAN), _group(hidden, 0, MASKED)]
    else:
        answered, before = np.zeros_like(hidden), np.zeros_like(hidden)
        answered[:, 1:] = hidden[:, 1:] & ~hidden_a[:, :-1]
        before[:, :-1] = answered[:, 1:]
        parts = [_group(seen & ~before, 0, CLEAN), _group(answered, -1, MASKED), _group(seen & before, 0, BEFORE)]
    example, of_a, of_b, group = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Tokens((a, b), example, np.stack([of_a, of_b]), group)


def some_of_each(example: NDArray, count: int, seed: int) -> NDArray:
    """The rows of at most `count` random tokens of every example."""
    order = np.random.default_rng(seed).permutation(len(example))
    by_example = order[np.argsort(example[order], kind="stable")]
    counts = np.bincount(example)
    nth = np.arange(len(example)) - np.repeat(counts.cumsum() - counts, counts)
    return np.sort(by_example[nth < count])


def _group(chosen: NDArray, back: int, name: str) -> tuple[NDArray, ...]:
    """The selected tokens of b, with those of a at the given offset."""
    example, place = chosen.nonzero()
    return example, place + back, place, np.full(len(example), name, dtype=object)


def _refuse_other_texts(a: NDArray, b: NDArray, hidden_a: NDArray, hidden_b: NDArray) -> None:
    if len(a) == len(b) and not ((a != b) & ~hidden_a & ~hidden_b).any():
        return
    raise TraceError(
        "two traces to compare",
        expected="the same visible tokens in both",
        found=f"{len(a)} and {len(b)} texts" + (" that differ" if len(a) == len(b) else ""),
        remedy="Record both from one batch, by a reading that shows each example once: prefix or one_mask.",
    )
