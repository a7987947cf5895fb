"""A trajectory: one complete decoding run of any paradigm.

`states[:, s]` is the model's input at its s-th forward pass, so a trajectory can be replayed, recorded and questioned
without decoding again; `tokens` is the final text. A run in strides also has the planned and the kept length of each
stride.

Some paradigms withdraw tokens: FLUID if a draft was wrong, a masked model that remasks, a flow until its last step.
`changes` records, pass by pass, which token was written where, and which was withdrawn. `committed_at` is only the last
time.

    run.commits.sum(-2)      # how often each place was written
    run.withdrawals.any(-2)  # the positions that were revised
    run.written_by_step      # the text after each pass
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.decoding.canvas_view import canvas
from probe.decoding.places import BEYOND, GIVEN, KEPT, UNWRITTEN, WITHDRAWN
from probe.errors import ProbeError
from probe.notebook import table

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from probe.decoding.candidates import Candidates
    from probe.views import View


@dataclass(frozen=True)
class StridesTaken:
    """The strides of a FLUID run, one per entry, in the order in which they ended.

    A stride of `proposed` tokens keeps `accepted` of them as they were drafted. If its check has a pass of its own, the
    first rejected token is replaced; if the check shares its pass, the next stride begins there."""

    example: Tensor
    start: Tensor  # the place of its first token
    predicted: Tensor  # the horizon head's prediction, before clipping; 0 if strides are fixed
    proposed: Tensor  # masks appended
    accepted: Tensor  # tokens kept as they were drafted
    passes: Tensor  # forward passes, including that of the verification unless another stride's pass does it
    ended_at: Tensor  # the step
    drafted: Tensor  # (stride, longest): its tokens as they were drafted, UNWRITTEN after them

    def __len__(self) -> int:
        return len(self.example)

    @property
    def rejected(self) -> Tensor:
        """Rejected drafts."""
        return self.proposed - self.accepted

    @property
    def kept(self) -> Tensor:
        """The kept tokens of each stride (stride, longest), UNWRITTEN after them."""
        place = torch.arange(self.drafted.shape[1], device=self.drafted.device)
        return self.drafted.masked_fill(place >= self.accepted[:, None], UNWRITTEN)

    @property
    def rejection_rate(self) -> float:
        """The share of all drafts that were rejected."""
        return self.rejected.sum().item() / max(1, self.proposed.sum().item())

    @staticmethod
    def all_of(parts: Sequence[StridesTaken]) -> StridesTaken:
        names = [column.name for column in fields(StridesTaken)]
        return StridesTaken(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def drafts_of(tokens: Tensor, start: Tensor, proposed: Tensor, longest: int) -> Tensor:
    """The `proposed` (row) tokens of each row of texts from `start` (row) on (row × longest), UNWRITTEN after them."""
    offset = torch.arange(longest, device=tokens.device)
    found = tokens.gather(1, (start[:, None] + offset).clamp(max=tokens.shape[1] - 1))
    return found.masked_fill(offset >= proposed[:, None], UNWRITTEN)


_SHOWN = 5  # examples in a notebook


@dataclass(frozen=True, repr=False)
class Trajectory:
    """Prompt and answer, with every state on the way. With a prompt of rank 1 the batch axis is absent throughout.

    A batch shares its forward passes, and `passes` says how many of them each example needed. `confidence` covers the
    masked positions of the part being written at the time: the stride, a block model's block, or the whole answer.

    If a rule has `stop` tokens, `ends` is the position after the first of them, or the length of the text; positions
    from there on repeat that token, and are not part of the written text.
    """

    tokens: Tensor  # (batch, position)
    states: Tensor  # (batch, step, position), token ids or UNWRITTEN
    committed_at: Tensor  # (batch, position), the last step that wrote it, or GIVEN, or BEYOND the text's end
    confidence: Tensor  # (batch, step, position), probability of the best token where masked, else NaN
    forward_passes: int
    passes: Tensor  # (batch)
    slots: int = 0  # tokens computed in all passes: what a cache saves
    sampler: str = ""
    seed: int = 0
    strides: StridesTaken | None = None
    # For a flow, whose states are only the best tokens of its input: the time of each step on both clocks, and z
    # (batch, step, position, vocabulary) if requested.
    tau: Tensor | None = None
    t: Tensor | None = None
    z: Tensor | None = None
    tokenizer: PreTrainedTokenizerBase | None = field(default=None, compare=False)
    mask_id: int | None = None  # the value in `states` where a slot is masked
    changes: Tensor | None = None  # (batch, step, position), the token that a pass wrote there, WITHDRAWN, or KEPT
    ends: Tensor | None = None  # (batch)
    approximate: str = ""  # the approximate cache that was used, if any

    def __repr__(self) -> str:
        rows, count = self._written_rows, int((self.committed_at >= 0).sum())
        many = f"{len(rows)} texts, the first " if len(rows) > 1 else ""
        cost = f"{count} tokens in {self.forward_passes} passes, {self.tokens_per_forward:.2f} a pass"
        cost += f", approximate ({self.approximate})" if self.approximate else ""
        return f"Trajectory({many}{rows[0]!r}: {cost}; {self.sampler}, seed {self.seed})"

    def _repr_html_(self) -> str:
        passes = self.passes.reshape(-1).tolist()
        rows = [
            (number, prompt, written, needed)
            for number, (prompt, written, needed) in enumerate(
                zip(self._rows_where(given=True), self._written_rows, passes, strict=True)
            )
        ][:_SHOWN]
        listed = table(repr(self), rows, ("example", "given", "written", "passes")) if len(rows) > 1 else ""
        return listed + self.view()._repr_html_()

    def view(self, example: int = 0, *, candidates: Candidates | None = None, title: str = "") -> View:
        """The canvas of one example: what each forward pass saw and wrote (see `probe.decoding.canvas_view`)."""
        best = None if candidates is None else candidates.of(example)
        return canvas(self.example(example), example, candidates=best, title=title)

    @property
    def text(self) -> str | list[str]:
        """The written text, without the prompt: one per example, if there is a batch axis."""
        return self._written_rows[0] if self.tokens.dim() == 1 else self._written_rows

    @property
    def _written_rows(self) -> list[str]:
        return self._rows_where(given=False)

    def _rows_where(self, *, given: bool) -> list[str]:
        chosen = self.committed_at == GIVEN if given else self.committed_at >= 0
        rows = zip(self.tokens.reshape(-1, self.tokens.shape[-1]), chosen.reshape(-1, chosen.shape[-1]), strict=True)
        return [self._spelt(tokens[there].tolist()) for tokens, there in rows]

    def _spelt(self, tokens: list[int]) -> str:
        if self.tokenizer is None:
            return " ".join(map(str, tokens))
        return str(self.tokenizer.decode(tokens))

    def __len__(self) -> int:
        """The number of steps."""
        return self.states.shape[-2]

    @property
    def tokens_per_forward(self) -> float:
        """Tokens written per forward pass that their example needed."""
        return (self.committed_at >= 0).sum().item() / self.passes.sum().item()

    @property
    def commits(self) -> Tensor:
        """Where each pass wrote (… × step × position, boolean)."""
        return self._changes >= 0

    @property
    def withdrawals(self) -> Tensor:
        """Where each pass withdrew or replaced a token that an earlier one had written."""
        held = self._held_before
        return (held >= 0) & (self._changes != KEPT) & (self._changes != held)

    @property
    def written_by_step(self) -> Tensor:
        """The tokens after each pass (… × step × position); UNWRITTEN where masked or not reached. A given position has
        its token throughout."""
        last = _latest(self._changes)
        given = (self.committed_at == GIVEN)[..., None, :]
        return torch.where(given, self.tokens[..., None, :], last.clamp(min=UNWRITTEN))

    @property
    def _held_before(self) -> Tensor:
        """The token that each pass found, of those written by earlier passes; UNWRITTEN if there was none."""
        after = _latest(self._changes).clamp(min=UNWRITTEN)
        return torch.cat([torch.full_like(after[..., :1, :], UNWRITTEN), after[..., :-1, :]], -2)

    @property
    def _changes(self) -> Tensor:
        if self.changes is None:
            raise ProbeError(
                "a trajectory's changes",
                expected="a run with the changes of each pass",
                found="one without them",
                remedy="Decode again.",
            )
        return self.changes

    def without_batch(self) -> Trajectory:
        """The run of the one example, of the prompt's rank."""
        return self.example(0)

    def example(self, number: int) -> Trajectory:
        """The run of one example of a batch, without the batch axis; strides are those of all examples."""
        if self.tokens.dim() == 1:
            return self
        of_rows = ("tokens", "states", "committed_at", "confidence", "passes", "z", "changes", "ends")
        return replace(self, **{name: part[number] for name in of_rows if (part := getattr(self, name)) is not None})


def _latest(changes: Tensor) -> Tensor:
    """The last change up to each step at each position: a token, WITHDRAWN, or KEPT if there was none yet."""
    steps = torch.arange(changes.shape[-2], device=changes.device)[:, None]
    when = torch.where(changes == KEPT, -1, steps).cummax(-2).values
    return changes.gather(-2, when.clamp(min=0)).masked_fill(when < 0, KEPT)


class Log:
    """Collects the steps of a run. With `moving` masked positions stay so to the end, as in a flow."""

    def __init__(self, tokens: Tensor, open_places: Tensor, *, moving: bool = False):
        self.committed_at = torch.full_like(tokens, GIVEN)
        self._passes = tokens.new_zeros(len(tokens))
        self._asked, self._open, self._moving = open_places, open_places.clone(), moving
        self._closed = torch.zeros_like(open_places)
        self._changes: list[tuple[Tensor, Tensor]] = []
        self._after: list[Tensor | None] = []
        self._states: list[Tensor] = []
        self._confidence: list[Tensor] = []
        self._strides: list[StridesTaken] = []

    def step(
        self,
        state: Tensor,
        confidence: Tensor,
        written: Tensor,
        *,
        reopened: Tensor | None = None,
        busy: Tensor | None = None,
        after: Tensor | None = None,
    ) -> None:
        """One forward pass: its input, its confidence (NaN where not predicted), where it wrote (boolean), what it
        withdrew, and which examples (batch) needed it: by default those with masked positions. `after` is the text
        after the pass, if the next pass does not see it."""
        self._states.append(state.clone())
        self._after.append(after)
        self._passes += self._open.any(1) if busy is None else busy
        self._confidence.append(confidence.float().masked_fill(~self._open, torch.nan))
        self.committed_at[written] = len(self._states) - 1
        taken_back = torch.zeros_like(written) if reopened is None else reopened & ~written
        self._changes.append((written, taken_back))
        if not self._moving:
            self._open = ((self._open & ~written) | taken_back) & ~self._closed

    def close(self, places: Tensor) -> None:
        """Positions (boolean) that will not be written: those after a text's end."""
        self._closed = self._closed | places
        self._open &= ~places

    def stride(self, taken: StridesTaken) -> None:
        self._strides.append(taken)

    def finish(
        self, tokens: Tensor, sampler: str, seed: int, slots: int, *, stop: Sequence[int | str] = ()
    ) -> Trajectory:
        """The run, whose text ends at the first token of `stop` that was written."""
        changes, ends = self._all_changes(tokens), None
        if stop:
            ends = ends_of(tokens, self._asked, stop)
            place = torch.arange(tokens.shape[1], device=tokens.device)
            beyond = self._asked & (place >= ends[:, None])
            tokens = torch.where(beyond, tokens.gather(1, ends[:, None] - 1), tokens)
            self.committed_at.masked_fill_(beyond, BEYOND)
        return Trajectory(
            tokens=tokens,
            states=torch.stack(self._states, 1),
            committed_at=self.committed_at,
            confidence=torch.stack(self._confidence, 1),
            forward_passes=len(self._states),
            passes=self._passes,
            slots=slots,
            sampler=sampler,
            seed=seed,
            strides=StridesTaken.all_of(self._strides) if self._strides else None,
            changes=changes,
            ends=ends,
        )

    def _all_changes(self, tokens: Tensor) -> Tensor:
        seen_next = [*self._states[1:], tokens]
        found = []
        for (written, taken_back), after, then in zip(self._changes, self._after, seen_next, strict=True):
            left = then if after is None else after
            found.append(torch.where(written, left, KEPT).masked_fill(taken_back, WITHDRAWN))
        return torch.stack(found, 1)


def ends_of(tokens: Tensor, written: Tensor, stop: Sequence[int | str]) -> Tensor:
    """The position (batch) after the first `stop` token where something was `written` (boolean); the length of the text
    if there is none."""
    ids = torch.tensor([token for token in stop if isinstance(token, int)], device=tokens.device)
    place = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
    return torch.where(written & torch.isin(tokens, ids), place + 1, tokens.shape[1]).amin(1)
