"""The canvas of a trajectory: what each forward pass saw and wrote, as a view.

    probe.decode(model, "When Luke and Keith went to the", 8).view()

Rows are forward passes, columns slots. A slot's shade is the model's confidence while it was masked; a frame marks the
pass that wrote it, and a broken frame the pass that withdrew it. A slot that was written, withdrawn and written again
shows all of those passes. With `candidates` (see `probe.decoding.candidates`) a click on a slot shows the other likely
tokens there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from probe.decoding.places import BEYOND, GIVEN, UNWRITTEN
from probe.views import View
from probe.views.words import MASK, Words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NOTHING = -2  # in the view's states: a slot not reached yet


Best = list[list[list[tuple[int, float]]]]  # step → slot → (token, probability), the best first


class Strides(Protocol):
    """The strides of a run, one per entry (see `probe.decoding.trajectory.StridesTaken`)."""

    @property
    def example(self) -> Tensor: ...


class Run(Protocol):
    """What the canvas needs from a run of one example (see `probe.decoding.trajectory.Trajectory`)."""

    @property
    def tokens(self) -> Tensor: ...
    @property
    def states(self) -> Tensor: ...
    @property
    def committed_at(self) -> Tensor: ...
    @property
    def commits(self) -> Tensor: ...
    @property
    def withdrawals(self) -> Tensor: ...
    @property
    def confidence(self) -> Tensor: ...
    @property
    def passes(self) -> Tensor: ...
    @property
    def sampler(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def strides(self) -> Strides | None: ...
    @property
    def tau(self) -> Tensor | None: ...
    @property
    def mask_id(self) -> int | None: ...
    @property
    def tokenizer(self) -> PreTrainedTokenizerBase | None: ...


def canvas(one: Run, example: int = 0, *, candidates: Best | None = None, title: str = "") -> View:
    """The view of the run of one example, which is the `example`-th of its batch."""
    words = Words(one.tokenizer)
    steps, slots = one.states.shape
    states = [[_code(one, words, step, slot) for slot in range(slots)] for step in range(steps)]
    written, settled = int((one.committed_at >= 0).sum()), one.committed_at.tolist()
    about = f"{one.sampler}, seed {one.seed}: {written} tokens in {int(one.passes)} passes, {_rate(one):.2f} a pass"
    data: dict[str, Any] = {
        "title": title or "How it was written",
        "about": about,
        "states": states,
        "final": [NOTHING if at == BEYOND else words.code(int(one.tokens[slot])) for slot, at in enumerate(settled)],
        "given": [at == GIVEN for at in settled],
        "confidence": [[round(sure, 4) for sure in row] for row in one.confidence.tolist()],
        "writes": writes(one),
        "withdrawn": withdrawn(one),
        "strides": _strides(one, example),
        "tau": None if one.tau is None else [round(float(time), 4) for time in one.tau],
    }
    if candidates is not None:
        data["candidates"] = [
            [[[words.code(token), round(share, 4)] for token, share in slot] for slot in _filled(step, slots)]
            for step in candidates
        ]
    return View("canvas", {**data, "words": words.spelt, "ids": words.ids})


def writes(one: Run) -> list[list[int]]:
    """For each slot the passes that wrote it, in order; none if it was given.

    A flow's states are its best guesses, which change at every step: there only the pass that settled a slot counts.
    """
    if one.tau is not None:
        return [[step] if step >= 0 else [] for step in one.committed_at.tolist()]
    return _steps_of(one.commits)


def withdrawn(one: Run) -> list[list[int]]:
    """For each slot the passes that withdrew or replaced its token; none for a flow, in which every pass may."""
    return [[] for _ in one.tokens.tolist()] if one.tau is not None else _steps_of(one.withdrawals)


def _steps_of(where: Tensor) -> list[list[int]]:
    """For each slot the steps at which it is True (step × slot)."""
    return [slot.nonzero()[:, 0].tolist() for slot in where.T]


def _code(one: Run, words: Words, step: int, slot: int) -> int:
    token = int(one.states[step, slot])
    if token == UNWRITTEN:
        return NOTHING
    is_open = token == one.mask_id and int(one.committed_at[slot]) != GIVEN
    return MASK if is_open else words.code(token)


def _filled(step: list[list[tuple[int, float]]], slots: int) -> list[list[tuple[int, float]]]:
    """A step's candidates for a number of slots; none for slots not reached."""
    return (step + [[]] * slots)[:slots]


def _rate(one: Run) -> float:
    return int((one.committed_at >= 0).sum()) / max(1, int(one.passes))


def _strides(run: Run, example: int) -> list[dict[str, int]] | None:
    taken = run.strides
    if taken is None:
        return None
    names: Sequence[str] = ("start", "predicted", "proposed", "accepted", "passes", "ended_at")
    here = (taken.example == example).nonzero()[:, 0]
    columns: list[Tensor] = [getattr(taken, name)[here] for name in names]
    return [dict(zip(names, map(int, row), strict=True)) for row in zip(*columns, strict=True)]
