"""What strides would cost, computed from one look at the finished text instead of a decoding run for every rule.

Verified strides all write the text of greedy autoregression, so their rules differ only in passes and slots. Both
follow from what stands after each token of that text: how many drafts in a row are right, how sure each is, and what a
horizon head says there. One canvas with a block of masks after every token has all of it. So a text is written and
looked at once, and hundreds of rules (lengths, γ, heads, limits) are then counted in milliseconds each:

    seen = foresee(model, prompts, 40)
    passes, slots = counted(seen, Strides(8))                        # of each text
    passes, slots = counted(seen, Strides(ELASTIC, most=4), head)

The counts are those of texts decoded one by one with a cache; a batch also computes what its rows need to wait for each
other. They hold for checks that overlap with drafts (`probe.decoding.overlapped`), without a temperature and stop
tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.decoding.decode import decode
from probe.decoding.strides import Strides
from probe.errors import ProbeError
from probe.paradigms.horizon import Ahead, accepted, look_ahead

if TYPE_CHECKING:
    from probe.models.model import Model
    from probe.paradigms.horizon import Horizon

ROWS = 64  # texts written side by side
LOOKED = 1 << 24  # logits of a look ahead that are in memory together


@dataclass(frozen=True)
class Foreseen:
    """Texts as greedy autoregression continues them, and what stands after each of their tokens."""

    tokens: Tensor  # (n, position)
    start: int  # where the prompt ends
    anchors: Tensor  # (n, position), the tokens from which a stride can begin
    ahead: Ahead  # of those anchors, row by row

    def by_place(self, values: Tensor) -> Tensor:
        """Values of the anchors as (n, position, …), 0 elsewhere."""
        dense = values.new_zeros(*self.tokens.shape, *values.shape[1:])
        dense[self.anchors] = values
        return dense


def foresee(model: Model, prompts: Tensor, length: int) -> Foreseen:
    """Write `length` tokens after prompts (n × k) as greedy autoregression does, and look ahead from each."""
    texts = torch.cat([decode(model, rows, length, sampler=Strides(8)).tokens for rows in prompts.split(ROWS)])
    place = torch.arange(texts.shape[1], device=texts.device)
    anchors = ((place >= prompts.shape[1] - 1) & (place < texts.shape[1] - 1)).expand_as(texts)
    together = max(1, LOOKED // (texts.shape[1] + 16 * length) // model.vocabulary)
    parts = [
        look_ahead(model, rows, there)
        for rows, there in zip(texts.split(together), anchors.split(together), strict=True)
    ]
    names = ("losses", "right", "sure", "hidden")
    ahead = Ahead(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
    return Foreseen(texts, prompts.shape[1], anchors, ahead)


@torch.no_grad()
def counted(seen: Foreseen, rule: Strides, head: Horizon | None = None) -> tuple[Tensor, Tensor]:
    """The passes and the computed slots (n) of each text by a rule; elastic ones follow `head`."""
    _refuse_others(rule, head)
    planned, right = _planned(seen, rule, head), seen.by_place(accepted(seen.ahead.right) - 1)
    row, end = torch.arange(len(seen.tokens), device=seen.tokens.device), seen.tokens.shape[1]
    front = torch.full_like(row, seen.start)
    drafts, passes, slots = torch.zeros_like(row), torch.zeros_like(row), torch.zeros_like(row)
    known = torch.zeros_like(row)  # tokens in the cache
    while (busy := front < end).any():
        passes += busy
        slots += busy * (front + drafts - known + _masks(front, drafts, rule.longest - 1, end))
        at = (front + drafts.minimum(right[row, (front - 2).clamp(min=0)])).clamp(max=end)
        drafts = planned[row, (at - 1)].minimum(end - at - 1).clamp(min=0)
        front, known = (at + 1).clamp(max=end), at
    return passes, slots


def _planned(seen: Foreseen, rule: Strides, head: Horizon | None) -> Tensor:
    """How many drafts (n, position) a stride from each token has, wherever the text ends."""
    sure = (seen.ahead.sure[:, 1 : rule.longest] > rule.gamma).cumprod(1).sum(1)
    if head is None:
        return seen.by_place(sure.clamp(max=rule.longest - 1))
    said = head.stride(seen.ahead.hidden).clamp(min=rule.least, max=rule.most)
    return seen.by_place((said - 1).minimum(sure))


def _masks(front: Tensor, drafts: Tensor, ahead: int, end: int) -> Tensor:
    """The masks (n) of a pass: a block of `ahead` after the text and after each draft, fewer at the end of the text."""
    number = torch.arange(int(drafts.max()) + 1, device=front.device)
    each = (end - 1 - front[:, None] - number).clamp(min=0, max=ahead)
    return (each * (number <= drafts[:, None])).sum(1)


def _refuse_others(rule: Strides, head: Horizon | None) -> None:
    if not rule.overlaps or rule.temperature or rule.stop or rule.elastic != (head is not None):
        raise ProbeError(
            f"counting the passes of {rule}",
            expected="strides that are checked as the next is drafted, without a temperature and stop tokens; with a "
            "head if they are elastic, else without",
            found=f"{rule}, {'a' if head is not None else 'no'} head",
            remedy="Decode, and count there.",
        )
