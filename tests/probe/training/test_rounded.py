"""Weights in bytes: the product is the product, its gradient too, and logits are asked for where a label is."""

from __future__ import annotations

import pytest
import torch

from probe.paradigms.paradigm import NO_LABEL, weighted_loss
from probe.training.distillation import distilled_loss
from probe.training.rounded import LOUDNESS, STEPS, Rounded, channel_ranges, rounded
from probe.training.unembedding import ROWS, Unembedding

WIDTH, WORDS, LEARNT = 16, 40, 7


def whole_numbers(rows: int, columns: int, seed: int) -> torch.Tensor:
    """What bytes hold exactly: whole numbers, the loudest of every row 127."""
    numbers = torch.randint(-126, 127, (rows, columns), generator=torch.Generator().manual_seed(seed)).float()
    numbers[:, 0] = STEPS
    return numbers


def left_as_it_is(weight: torch.Tensor) -> torch.Tensor:
    """The loudness that asks for no channel to be hushed."""
    return weight.abs().amax(0) ** ((1 - LOUDNESS) / LOUDNESS)


def layer_of(weight: torch.Tensor, bias: bool = False) -> torch.nn.Linear:
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias).requires_grad_(False)
    layer.weight.copy_(weight)
    return layer


def test_whole_numbers_are_multiplied_exactly():
    weight, x = whole_numbers(12, WIDTH, 0), whole_numbers(5, WIDTH, 1).view(1, 5, WIDTH)
    layer = layer_of(weight, bias=True)
    torch.testing.assert_close(Rounded(layer, left_as_it_is(weight))(x), layer(x))


def test_other_numbers_are_close_and_so_are_their_gradients():
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(64, 96, bias=False), torch.randn(32, 64)
    x[:, 3] *= 50  # a loud channel
    coarse = Rounded(layer, x.abs().amax(0))
    given, pull = x.clone().requires_grad_(True), torch.randn(32, 96)
    ours, theirs = coarse(given), layer(given)
    assert ((ours - theirs).norm() / theirs.norm()).item() < 0.02
    back, true = (torch.autograd.grad(y, given, pull)[0] for y in (ours, theirs))
    assert ((back - true).norm() / true.norm()).item() < 0.05


def test_a_loud_channel_does_not_drown_the_others():
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(64, 96, bias=False), torch.randn(32, 64)
    x[:, 3] *= 50

    def error(loudest: torch.Tensor) -> float:
        return (Rounded(layer, loudest)(x) - layer(x)).norm().item()

    assert error(x.abs().amax(0)) < 0.5 * error(left_as_it_is(layer.weight.detach()))


def test_a_row_of_zeros_stays_one():
    whole, scale = rounded(torch.zeros(2, 4))
    assert (whole == 0).all()
    assert scale.isfinite().all()


def test_channel_ranges_are_the_loudest_and_leaves_no_hook():
    layer = torch.nn.Linear(3, 2)
    with channel_ranges({"it": layer}) as loudest:
        layer(torch.tensor([[1.0, -5.0, 2.0]]))
        layer(torch.tensor([[-3.0, 1.0, 2.0]]))
    assert loudest["it"].tolist() == [3.0, 5.0, 2.0]
    assert not layer._forward_pre_hooks


def question(seed: int = 3) -> tuple[torch.Tensor, ...]:
    """Hidden states of 3 × 50 slots, a table, the learnt row, labels on a third of the slots, weights."""
    torch.manual_seed(seed)
    table = whole_numbers(WORDS, WIDTH, seed) / 300
    hidden = whole_numbers(150, WIDTH, seed + 1).view(3, 50, WIDTH) / 100
    labels = torch.randint(0, WORDS, (3, 50)).masked_fill(torch.rand(3, 50) < 0.6, NO_LABEL)
    labels[labels == LEARNT] = NO_LABEL
    return hidden, table, torch.randn(WIDTH) / 4, labels, torch.rand(3, 50)


def logits_of(hidden: torch.Tensor, table: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    return torch.cat([hidden @ table[:LEARNT].T, hidden @ row[:, None], hidden @ table[LEARNT + 1 :].T], dim=-1)


@pytest.mark.parametrize("distill", [None, 0.0, 0.6, 1.0])
def test_the_loss_at_labelled_slots_is_that_of_all_logits(distill):
    hidden, table, row, labels, weights = question()
    hidden, row = hidden.requires_grad_(True), row.requires_grad_(True)
    head = Unembedding(table, left_as_it_is(table), LEARNT)
    if distill is None:
        ours = head.loss(hidden, labels, weights, row)
        whole = weighted_loss(logits_of(hidden, table, row), labels, weights)
    else:
        soft, teacher = torch.full((3, 50), distill), whole_numbers(150, WIDTH, 9).view(3, 50, WIDTH) / 100
        ours = head.loss(hidden, labels, weights, row, soft, teacher)
        theirs = logits_of(teacher, table, row.detach())
        theirs[..., LEARNT] = -torch.inf
        whole = distilled_loss(logits_of(hidden, table, row), labels, weights, soft, theirs)
    torch.testing.assert_close(ours, whole, rtol=1e-4, atol=1e-5)
    for back, true in zip(
        torch.autograd.grad(ours, [hidden, row]), torch.autograd.grad(whole, [hidden, row]), strict=True
    ):
        torch.testing.assert_close(back, true, rtol=1e-2, atol=1e-4 * true.abs().max().item() + 1e-7)


def test_a_batch_without_labels_teaches_nothing():
    hidden, table, row, labels, weights = question()
    loss = Unembedding(table, left_as_it_is(table), LEARNT).loss(hidden, labels.fill_(NO_LABEL), weights, row)
    assert loss.item() == 0


def test_more_slots_than_are_taken_at_a_time():
    hidden, table, row, labels, weights = (
        part.repeat_interleave(4, 0) if part.dim() > 1 and part.shape[0] == 3 else part for part in question()
    )
    assert (labels != NO_LABEL).sum() > ROWS
    ours = Unembedding(table, left_as_it_is(table), LEARNT).loss(hidden, labels, weights, row)
    torch.testing.assert_close(
        ours, weighted_loss(logits_of(hidden, table, row), labels, weights), rtol=1e-4, atol=1e-5
    )
