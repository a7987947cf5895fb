"""The canvas of a trajectory: what each forward pass saw and wrote, as a view.

    probe.decode(model, "When Luke and Keith went to the", 8).view()

Rows are forward passes, columns slots. A slot's shade says how sure the model was while it was open; a frame marks the
pass that wrote it. A slot that was written, taken back and written again has every one of those passes. With
`candidates` (see `probe.decoding.candidates`) a click on a slot shows what else would have been written there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from probe.decoding.trajectory import GIVEN, UNWRITTEN, Trajectory
from probe.views import View

if TYPE_CHECKING:
    from probe.decoding.candidates import Candidates

MASK, NOTHING = -1, -2  # in the view's states: an open slot, and one that is not reached yet


def canvas(run: Trajectory, example: int = 0, *, candidates: Candidates | None = None, title: str = "") -> View:
    """The view of one example of a run."""
    one = _alone(run, example)
    words = _Words(one)
    states = [[_code(one, words, step, slot) for slot in range(one.states.shape[1])] for step in range(len(one))]
    written = int((one.committed_at != GIVEN).sum())
    about = f"{one.sampler}, seed {one.seed}: {written} tokens in {int(one.passes)} passes, {_rate(one):.2f} a pass"
    data: dict[str, Any] = {
        "title": title or "How it was written",
        "about": about,
        "states": states,
        "final": [words.code(token) for token in one.tokens.tolist()],
        "confidence": [[round(sure, 4) for sure in row] for row in one.confidence.tolist()],
        "writes": writes(one),
        "strides": _strides(run, example),
        "tau": None if one.tau is None else [round(float(time), 4) for time in one.tau],
    }
    if candidates is not None:
        data["candidates"] = [
            [[[words.code(token), round(share, 4)] for token, share in slot] for slot in step]
            for step in candidates.of(example)
        ]
    return View("canvas", {**data, "words": words.spelt, "ids": words.ids})


def writes(one: Trajectory) -> list[list[int]]:
    """Of each slot the passes that wrote it, in order; none where it was given.

    A flow's states are its best guesses, which move at every step: there the pass that settled a slot counts alone.
    """
    settled = one.committed_at.tolist()
    if one.tau is not None or one.mask_id is None:
        return [[] if step == GIVEN else [step] for step in settled]
    seen = torch.cat([one.states, one.tokens[None]])
    is_open = (seen == one.mask_id) | (seen == UNWRITTEN)
    closed = (is_open[:-1] & ~is_open[1:]) | (~is_open[:-1] & ~is_open[1:] & (seen[:-1] != seen[1:]))
    return [
        [] if step == GIVEN else sorted({*closed[:, slot].nonzero()[:, 0].tolist(), step})
        for slot, step in enumerate(settled)
    ]


class _Words:
    """The tokens of a view, each spelt once and known by its place in the list."""

    def __init__(self, run: Trajectory):
        self._tokenizer = run.tokenizer
        self.spelt: list[str] = []
        self.ids: list[int] = []
        self._code: dict[int, int] = {}

    def code(self, token: int) -> int:
        if token not in self._code:
            self._code[token] = len(self.ids)
            self.ids.append(token)
            self.spelt.append(str(token) if self._tokenizer is None else str(self._tokenizer.decode([token])))
        return self._code[token]


def _code(one: Trajectory, words: _Words, step: int, slot: int) -> int:
    token = int(one.states[step, slot])
    if token == UNWRITTEN:
        return NOTHING
    is_open = token == one.mask_id and int(one.committed_at[slot]) != GIVEN
    return MASK if is_open else words.code(token)


def _alone(run: Trajectory, example: int) -> Trajectory:
    return run if run.tokens.dim() == 1 else run.example(example)


def _rate(one: Trajectory) -> float:
    return int((one.committed_at != GIVEN).sum()) / max(1, int(one.passes))


def _strides(run: Trajectory, example: int) -> list[dict[str, int]] | None:
    taken = run.strides
    if taken is None:
        return None
    names: Sequence[str] = ("start", "predicted", "proposed", "accepted", "passes", "ended_at")
    here = (taken.example == example).nonzero()[:, 0]
    columns: list[Tensor] = [getattr(taken, name)[here] for name in names]
    return [dict(zip(names, map(int, row), strict=True)) for row in zip(*columns, strict=True)]
