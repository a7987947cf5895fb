"""The loss at labelled slots only, with a frozen unembedding.

With a vocabulary of 49,152 tokens the last product is a fifth of all work, and its softmax more than that. Most slots
have no label, and of the unembedding only the mask's row is trained. So the hidden states of labelled slots are
processed a few at a time; loss and gradient are computed together, from one softmax, and no logits are kept.

    loss      Σ weight · (log Σ exp z - z[label]) / number of labels,      z = h Uᵀ
    gradient  Σ weight · (softmax(z) U - U[label]) / number of labels

With a teacher (probe.training.distillation) a part of the target is its distribution q, computed from its hidden
states: the gradient is then softmax(z) U - (1-d)·U[label] - d·q U.

These products are in single precision, also where the layers' are in bytes. A softmax has a few large entries and
thousands of tiny ones; in bytes the tiny ones are lost, so that nothing pushes the tail down. Trainings that rounded
them grew worse after some hundred steps (docs/real_twin.md).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from probe.paradigms.paradigm import NO_LABEL

ROWS = 128  # slots at a time


class Unembedding:
    """A frozen tied unembedding: its table, and the index of the row that is trained separately."""

    def __init__(self, table: Tensor, learnt: int, compiled: bool = False):
        self.table, self.learnt = table.detach(), learnt
        self.answer = torch.compile(_answer) if compiled else _answer

    def loss(
        self,
        hidden: Tensor,
        labels: Tensor,
        weights: Tensor,
        row: Tensor,
        soft: Tensor | None = None,
        teacher: Tensor | None = None,
    ) -> Tensor:
        """`TrainingBatch.loss` of the logits of `hidden` (batch × slots × d), the mask's row being `row` (d). `soft` is
        the teacher's share in each slot's target, `teacher` its hidden state for that slot."""
        labelled = labels != NO_LABEL
        both = (None, None) if soft is None or teacher is None else (soft[labelled], teacher[labelled])
        return _Loss.apply(hidden[labelled], labels[labelled], weights[labelled], row, self, *both)


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        labels: Tensor,
        weights: Tensor,
        row: Tensor,
        head: Unembedding,
        soft: Tensor | None,
        teacher: Tensor | None,
    ) -> Tensor:
        n = len(labels)
        # The padding rows have weight 0, so that every call has one shape.
        hidden, labels, share = (_filled(part) for part in (hidden, labels, weights / max(1, n)))
        soft, teacher = (None if part is None else _filled(part) for part in (soft, teacher))
        total, back, to_row = hidden.new_zeros(()), torch.empty_like(hidden), torch.zeros_like(row)
        for start in range(0, len(labels), ROWS):
            some = slice(start, start + ROWS)
            loss, back[some], more = head.answer(
                hidden[some],
                labels[some],
                share[some],
                row,
                head.learnt,
                head.table,
                None if soft is None else soft[some],
                None if teacher is None else teacher[some],
            )
            total, to_row = total + loss, to_row + more
        ctx.save_for_backward(back[:n], to_row)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        back, to_row = ctx.saved_tensors
        return gradients[0] * back, None, None, gradients[0] * to_row, None, None, None


def _filled(part: Tensor) -> Tensor:
    """With zeros up to a multiple of ROWS."""
    return torch.cat([part, part.new_zeros(-len(part) % ROWS, *part.shape[1:])])


def _answer(
    hidden: Tensor,
    labels: Tensor,
    share: Tensor,
    row: Tensor,
    learnt: int,
    table: Tensor,
    soft: Tensor | None,
    teacher: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of some slots, its gradient by their hidden states and by the trained row."""
    z = hidden @ table.t()
    column = torch.arange(z.shape[1]) == learnt
    z = torch.where(column, (hidden @ row)[:, None], z)
    top = z.amax(-1, keepdim=True)
    e = (z - top).exp()
    sum_ = e.sum(-1, keepdim=True)
    surprise = (top + sum_.log() - z.gather(1, labels[:, None]))[:, 0]
    p = e / sum_
    hard, known = 1.0, p
    if soft is not None and teacher is not None:
        theirs = torch.where(column, -torch.inf, teacher @ table.t()).log_softmax(-1)
        q = theirs.exp()
        divergence = torch.where(column, 0, q * (theirs - z)).sum(-1) + (top + sum_.log())[:, 0]
        surprise = (1 - soft) * surprise + soft * divergence
        hard, known = (1 - soft)[:, None], p - soft[:, None] * q
    loss = (share * surprise).sum()
    p_learnt = p[:, learnt] * share
    product = torch.where(column, 0, known) @ table
    back = share[:, None] * (product - hard * table[labels]) + p_learnt[:, None] * row
    return loss, back, p_learnt @ hidden
