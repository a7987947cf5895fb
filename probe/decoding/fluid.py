"""FLUID: strides of masks after the text, filled by causal diffusion and checked by one causal pass.

A stride is K tokens. The first is autoregression's own, predicted at the last token of the text; the others are drafted
from masks. Then a causal pass shows what autoregression would have written instead, and the stride is kept up to the
first token that differs. So the text equals that of greedy autoregression from the same weights, in fewer passes if the
drafts are good. There are three modes:

    Strides(8)                  one pass checks a stride and drafts the next (probe.decoding.overlapped); at least one
                                token per pass
    Strides(8, overlap=False)   a stride is drafted in some passes and checked in one of its own, as in the published
                                code: its first masked slot takes the best token, and so does every later one with
                                confidence above γ
    Strides(8, verify=False)    the same without the check: diffusion alone

With active edits or a tracer each pass must show one text, so there every check has its own pass; the text is the same.

K is fixed, or elastic: the model's horizon head (probe.paradigms.horizon) predicts it at the last token of the text.
Its input, the hidden state there, comes from the first drafting pass, which therefore has as many masks as the longest
stride; attention is causal, so those after the stride do not affect it.

Three more things differ from the published code. Here K* counts from the first token of a stride; it never reaches past
the end of the text; and a slot that is filled is not drafted again before it is checked. The published code's floor of
four masks, max(4, K), is `Strides(ELASTIC, least=4)`; `most` limits the stride from above, and with it the masks that
every pass computes for the next.

Under causal attention masks appended to the text equal a block inserted after its last token, and rows of a batch at
different points of their strides share every pass.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.decoding.overlapped import Overlapped
from probe.decoding.passes import OwnPasses, Run, Seen
from probe.decoding.spelling import with_ids
from probe.decoding.strides import ELASTIC, FLOOR, Strides
from probe.decoding.trajectory import Log, StridesTaken, Trajectory, drafts_of, ends_of
from probe.decoding.writer import Rule, Writer, writes
from probe.errors import ProbeError
from probe.paradigms import Fluid
from probe.paradigms.attachments import attached

if TYPE_CHECKING:
    from probe.models.model import Model
    from probe.paradigms.horizon import Horizon


@writes(Fluid)
class InStrides(Writer[Strides]):
    """Left to right, in strides: elastic ones, with the published floor, if the model has a horizon head, else of eight
    tokens."""

    kind = Strides
    free_steps = False
    in_strides = True

    def rule(self, model: Model, asked: str | Rule | None, steps: int | None) -> Strides:
        if asked is None and steps is None:
            return Strides(ELASTIC, least=FLOOR) if "horizon" in model.attachments else Strides()
        if isinstance(asked, Strides) and steps is None:
            return with_ids(model, asked)
        raise ProbeError(
            "sampler for a FLUID model",
            expected="Strides: it writes left to right in strides, with no fixed number of passes",
            found=f"{asked}" if steps is None else f"{steps} steps",
            remedy="Pass sampler=probe.decoding.Strides(length=8, threshold=0.9, verify=True), or nothing.",
        )

    def write(self, model: Model, prompt: Tensor, length: int, rule: Strides, run: Run) -> Trajectory:
        return stride(model, prompt, length, rule, run)

    def most_passes(self, rule: Strides, length: int) -> int:
        """A verified stride may be drafted whole although only its first token is kept."""
        return length * (rule.longest + 1)

    def reads_hidden(self, rule: Strides) -> bool:
        """The horizon head reads it."""
        return rule.elastic


def stride(model: Model, prompt: Tensor, length: int, rule: Strides, run: Run) -> Trajectory:
    """Write in strides. Without a temperature nothing is sampled, and the seed is only recorded."""
    mask = model.paradigm.given_mask()
    model.refuse_mask_in(prompt)
    rule = _heard(rule, run)
    tokens = torch.cat([prompt, prompt.new_full((len(prompt), length), mask)], 1)
    log = Log(tokens, torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens) >= prompt.shape[1])
    head: Horizon | None = None
    if rule.elastic:
        head = attached(model, "horizon")  # type: ignore[assignment]  # what is attached by that name is one
    made = Overlapped if rule.overlaps else _Strides
    strides = made(tokens, prompt.shape[1], mask, rule, head, run, log)
    while strides.busy.any():
        strides.step()
    return log.finish(strides.tokens, str(rule), run.seed, run.passes.slots, stop=rule.stop)


def _heard(rule: Strides, run: Run) -> Strides:
    """The rule of a run. With edits or a tracer a pass shows one text, so checks cannot overlap with drafts."""
    if isinstance(run.passes, OwnPasses) or not rule.overlaps:
        return rule
    if rule.temperature:
        raise ProbeError(
            f"{rule} while edits or a tracer are active",
            expected="no temperature: samples are checked in the pass that also drafts the next ones",
            found=f"temperature {rule.temperature:g}",
            remedy="Close the edits, or write without a temperature.",
        )
    return replace(rule, overlap=False)


class _Strides:
    """The strides of every row. `front` (batch × 1) is the end of the final text, `limit` the end of the current
    stride; between strides the two are equal."""

    def __init__(self, tokens: Tensor, start: int, mask: int, rule: Strides, head: Horizon | None, run: Run, log: Log):
        self.tokens, self._mask, self._rule, self._head, self._run, self._log = tokens, mask, rule, head, run, log
        self._place = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        self._end, self._start = tokens.shape[1], start
        self._ends = torch.full(
            (len(tokens), 1), self._end, device=tokens.device
        )  # the end of each text, once it has stopped
        self._front = torch.full((len(tokens), 1), start, device=tokens.device)
        self._limit = self._front.clone()
        self._predicted = torch.zeros_like(self._front)
        self._began = torch.zeros_like(self._front)
        self._steps = 0

    @property
    def busy(self) -> Tensor:
        """Which rows (batch × 1) still have text to write or to check."""
        return self._front < self._ends

    def step(self) -> None:
        """One forward pass: rows without a stride begin one, the others continue drafting, or are checked."""
        busy, fresh = self.busy, self.busy & (self._limit == self._front)
        seen, begin = self._look(fresh)
        if fresh.any():
            self._begin_strides(fresh, seen, begin)
        sure, best = self._answers(seen, begin)
        inside = (self._place >= self._front) & (self._place < self._limit)
        is_open = inside & (self.tokens == self._mask)
        drafting = is_open.any(1, keepdim=True)
        first_open = self._earliest(is_open)
        drafted = is_open & ((self._place == first_open) | (sure > self._rule.gamma))
        checked = inside & ~drafting
        first_wrong = self._earliest(checked & (self.tokens != best))
        written = drafted | (checked & (self._place == first_wrong))
        reopened = checked & (self._place > first_wrong)
        state = self.tokens
        self.tokens = torch.where(written, best, state).masked_fill(reopened, self._mask)
        self._log.step(state, sure.masked_fill(~inside, torch.nan), written, reopened=reopened, busy=busy[:, 0])
        self._run.on_step(self._steps, self.tokens, written)
        full = ~(is_open & ~drafted).any(1, keepdim=True)
        drafts = state if self._rule.verify else self.tokens
        self._end_strides(busy & (~drafting if self._rule.verify else full), first_wrong, drafts)
        self._steps += 1

    def _look(self, fresh: Tensor) -> tuple[Seen, Tensor]:
        """One pass over the relevant places, and its first place (batch × 1): a stride's first if nothing or all of it
        is drafted, else its first masked one."""
        is_open = (self.tokens == self._mask) & (self._place < self._limit)
        first_open = self._earliest(is_open)
        begin = torch.where(first_open < self._limit, first_open, self._front)
        limit = torch.where(fresh, (self._front + self._rule.longest).clamp(max=self._end), self._limit)
        width = int((limit - begin).max())
        begin = begin.clamp(max=self._end - width)
        return self._run.passes(self.tokens, begin[:, 0] - 1, width), begin

    def _begin_strides(self, fresh: Tensor, seen: Seen, begin: Tensor) -> None:
        if self._head is None:
            horizon = torch.full_like(self._front, self._rule.longest)
        else:
            assert seen.hidden is not None  # the passes kept it for the head
            anchor = (self._front - begin).clamp(min=0, max=seen.hidden.shape[1] - 1)
            hidden = seen.hidden.gather(1, anchor[..., None].expand(-1, -1, seen.hidden.shape[2]))
            said = self._head.stride(hidden)
            self._predicted = torch.where(fresh, said, self._predicted)
            horizon = said.clamp(min=self._rule.least, max=self._rule.most)
        self._limit = torch.where(fresh, (self._front + horizon).clamp(max=self._end), self._limit)
        self._began = self._began.masked_fill(fresh, self._steps)

    def _answers(self, seen: Seen, begin: Tensor) -> tuple[Tensor, Tensor]:
        """The confidence and the token at every place that the pass predicted (NaN and the mask at the others)."""
        logits = seen.logits
        logits[..., self._mask] = -torch.inf  # a mask is never an answer
        sure, best = logits.softmax(-1).max(-1)
        at = begin + torch.arange(sure.shape[1], device=sure.device)
        nowhere = torch.full(self._place.shape, torch.nan, device=sure.device)
        return nowhere.scatter(1, at, sure), torch.full_like(self._place, self._mask).scatter(1, at, best)

    def _earliest(self, where: Tensor) -> Tensor:
        """The first place (batch × 1) of each row where it is True; the end of the text if there is none."""
        return torch.where(where, self._place, self._end).amin(1, keepdim=True)

    def _end_strides(self, ended: Tensor, first_wrong: Tensor, drafts: Tensor) -> None:
        if not ended.any():
            return
        rows = ended[:, 0]
        right = first_wrong.minimum(self._limit)  # the drafts before it stand
        front = torch.where(ended, (right + 1).minimum(self._limit), self._front)
        if self._rule.stop:
            for_good = (self._place >= self._start) & (self._place < front)
            self._ends = ends_of(self.tokens, for_good, self._rule.stop)[:, None]
            self._log.close(self._place >= self._ends)
        parts = {
            "example": rows.nonzero()[:, 0],
            "start": self._front[rows, 0],
            "predicted": self._predicted[rows, 0],
            "proposed": (self._limit - self._front)[rows, 0],
            "accepted": (right.minimum(self._ends) - self._front)[rows, 0],
            "passes": (self._steps + 1 - self._began)[rows, 0],
        }
        drafted = drafts_of(drafts[rows], parts["start"], parts["proposed"], self._rule.longest)
        taken = StridesTaken(**parts, ended_at=torch.full_like(parts["example"], self._steps), drafted=drafted)
        self._log.stride(taken)
        self._run.on_stride(taken)
        self._front = front.minimum(self._ends)
        self._limit = torch.where(ended, self._front, self._limit)
