"""The loss at labelled slots only, with a frozen unembedding.

With a vocabulary of 49,152 tokens the last product is a fifth of all work, and its softmax more than that. Most slots
have no label, and of the unembedding only the mask's row is trained. So the hidden states of labelled slots are
processed a few at a time; loss and gradient are computed together, from one softmax, and no logits are kept.

    loss      Σ weight · (log Σ exp z - z[label]) / number of labels,      z = h Uᵀ
    gradient  Σ weight · (softmax(z) U - U[label]) / number of labels

With a teacher (probe.training.distillation) a part of the target is its distribution q, computed from its hidden
states: the gradient is then softmax(z) U - (1-d)·U[label] - d·q U. Several slots can predict the token at the same
place of a text (FLUID: one for each stride that reaches it). The teacher's distribution is computed once for each
place, not once for each slot: with six slots a place that saves a fifth of a training step.

These products are in single precision, also where the layers' are in bytes. A softmax has a few large entries and
thousands of tiny ones; in bytes the tiny ones are lost, so that nothing pushes the tail down. Trainings that rounded
them grew worse after some hundred steps (docs/real_twin.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probe.paradigms.paradigm import NO_LABEL

ROWS = 128  # slots at a time, and places of the teacher's


@dataclass(frozen=True, eq=False)
class Teacher:
    """What a teacher knows about the slots of a batch."""

    states: Tensor
    """its last hidden state at each place of each text (batch × places × d)"""
    places: Tensor
    """the place of a text whose state predicts a slot's token (batch × slots)"""
    share: Tensor
    """its share in a slot's target (batch × slots), between 0 and 1"""


class Unembedding:
    """A frozen tied unembedding: its table, and the index of the row that is trained separately."""

    def __init__(self, table: Tensor, learnt: int, compiled: bool = False):
        self.table, self.learnt = table.detach(), learnt
        self.answer = torch.compile(_answer) if compiled else _answer
        self.taught_answer = torch.compile(_taught_answer) if compiled else _taught_answer
        self.distribution = torch.compile(_distribution) if compiled else _distribution

    def loss(
        self, hidden: Tensor, labels: Tensor, weights: Tensor, row: Tensor, teacher: Teacher | None = None
    ) -> Tensor:
        """`TrainingBatch.loss` of the logits of `hidden` (batch × slots × d), the mask's row being `row` (d)."""
        labelled = labels != NO_LABEL
        of_labelled = None if teacher is None else _of_labelled(teacher, labelled)
        return _Loss.apply(hidden[labelled], labels[labelled], weights[labelled], row, self, of_labelled)


def _of_labelled(teacher: Teacher, labelled: Tensor) -> Teacher:
    """The teacher of the labelled slots of all texts, as if they were slots of one text."""
    texts, length, _ = teacher.states.shape
    places = teacher.places.clamp(max=length - 1) + length * torch.arange(texts, device=labelled.device)[:, None]
    return Teacher(teacher.states.flatten(0, 1), places[labelled], teacher.share[labelled])


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        labels: Tensor,
        weights: Tensor,
        row: Tensor,
        head: Unembedding,
        teacher: Teacher | None,
    ) -> Tensor:
        share = weights / max(1, len(labels))
        total, back, to_row = hidden.new_zeros(()), torch.empty_like(hidden), torch.zeros_like(row)
        for some, taught in _portions(head, len(labels), teacher):
            # The padding rows have weight 0, so that every call has one shape.
            parts = _filled(hidden[some]), _filled(labels[some]), _filled(share[some])
            if taught is None:
                loss, by_hidden, by_row = head.answer(*parts, row, head.learnt, head.table)
            else:
                loss, by_hidden, by_row = head.taught_answer(*parts, row, head.learnt, head.table, *taught)
            back[some] = by_hidden[: len(some)]
            total, to_row = total + loss, to_row + by_row
        ctx.save_for_backward(back, to_row)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        back, to_row = ctx.saved_tensors
        return gradients[0] * back, None, None, gradients[0] * to_row, None, None


def _portions(
    head: Unembedding, slots: int, teacher: Teacher | None
) -> Iterator[tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor] | None]]:
    """The slots, ROWS at a time, and for each portion what its teacher says of ROWS places: its distribution at each,
    that distribution's Σ q log q, the place of each slot among them, and the teacher's share there."""
    if teacher is None:
        for some in torch.arange(slots).split(ROWS):
            yield some, None
        return
    for start in range(0, len(teacher.states), ROWS):
        there = ((teacher.places >= start) & (teacher.places < start + ROWS)).nonzero()[:, 0]
        if len(there):
            q = head.distribution(_filled(teacher.states[start : start + ROWS]), head.learnt, head.table)
            for some in there.split(ROWS):
                yield some, (*q, _filled(teacher.places[some] - start), _filled(teacher.share[some]))


def _filled(part: Tensor) -> Tensor:
    """With zeros up to ROWS rows."""
    return torch.cat([part, part.new_zeros(ROWS - len(part), *part.shape[1:])])


def _distribution(states: Tensor, learnt: int, table: Tensor) -> tuple[Tensor, Tensor]:
    """A teacher's distribution q behind some hidden states, without the token of the trained row, and its Σ q log q."""
    z = states @ table.t()
    z = torch.where(torch.arange(z.shape[1]) == learnt, -torch.inf, z)
    logs = z.log_softmax(-1)
    q = logs.exp()
    return q, torch.where(q > 0, q * logs, 0).sum(-1)


def _answer(
    hidden: Tensor, labels: Tensor, share: Tensor, row: Tensor, learnt: int, table: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of some slots, its gradient by their hidden states and by the trained row."""
    column, z, log_sum, p = _softmax(hidden, row, learnt, table)
    loss = (share * (log_sum - z.gather(1, labels[:, None])[:, 0])).sum()
    return loss, *_gradients(hidden, share, row, learnt, table, torch.where(column, 0, p), p, table[labels])


def _taught_answer(
    hidden: Tensor,
    labels: Tensor,
    share: Tensor,
    row: Tensor,
    learnt: int,
    table: Tensor,
    q: Tensor,
    q_log_q: Tensor,
    places: Tensor,
    soft: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same with a teacher, whose share in the target is `soft`."""
    column, z, log_sum, p = _softmax(hidden, row, learnt, table)
    q = q[places]
    divergence = q_log_q[places] - (q * z).sum(-1) + log_sum
    surprise = log_sum - z.gather(1, labels[:, None])[:, 0]
    loss = (share * ((1 - soft) * surprise + soft * divergence)).sum()
    known = torch.where(column, 0, p - soft[:, None] * q)
    return loss, *_gradients(hidden, share, row, learnt, table, known, p, (1 - soft)[:, None] * table[labels])


def _softmax(hidden: Tensor, row: Tensor, learnt: int, table: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Which column is the trained row's, the logits, the logarithm of the sum of their exponentials, their softmax."""
    z = hidden @ table.t()
    column = torch.arange(z.shape[1]) == learnt
    z = torch.where(column, (hidden @ row)[:, None], z)
    top = z.amax(-1, keepdim=True)
    e = (z - top).exp()
    sum_ = e.sum(-1, keepdim=True)
    return column, z, (top + sum_.log())[:, 0], e / sum_


def _gradients(
    hidden: Tensor, share: Tensor, row: Tensor, learnt: int, table: Tensor, known: Tensor, p: Tensor, hard: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradient by the hidden states and by the trained row: `known` multiplies the table, `hard` is the part of
    the true tokens."""
    p_learnt = p[:, learnt] * share
    return share[:, None] * (known @ table - hard) + p_learnt[:, None] * row, p_learnt @ hidden
