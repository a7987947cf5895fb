"""Weights in bytes: the product is the product, its gradient too, and logits are asked for where a label is."""

from __future__ import annotations

import pytest
import torch

from probe.paradigms.paradigm import NO_LABEL, weighted_loss
from probe.training.distillation import distilled_loss
from probe.training.lora import at_places
from probe.training.rounded import STEPS, Rounded, rounded
from probe.training.unembedding import ROWS, Teacher, Unembedding

WIDTH, WORDS, LEARNT = 16, 40, 7


def whole_numbers(rows: int, columns: int, seed: int) -> torch.Tensor:
    """What bytes hold exactly: whole numbers, the loudest of every row 127."""
    numbers = torch.randint(-126, 127, (rows, columns), generator=torch.Generator().manual_seed(seed)).float()
    numbers[:, 0] = STEPS
    return numbers


def layer_of(weight: torch.Tensor, bias: bool = False) -> torch.nn.Linear:
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias).requires_grad_(False)
    layer.weight.copy_(weight)
    return layer


def test_whole_numbers_are_multiplied_exactly():
    weight, x = whole_numbers(12, WIDTH, 0), whole_numbers(5, WIDTH, 1).view(1, 5, WIDTH)
    layer = layer_of(weight, bias=True)
    torch.testing.assert_close(Rounded(layer)(x), layer(x))


def test_other_numbers_are_close_and_so_are_their_gradients():
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(64, 96, bias=False), torch.randn(32, 64)
    x[:, 3] *= 50  # a loud channel
    coarse = Rounded(layer)
    given, pull = x.clone().requires_grad_(True), torch.randn(32, 96)
    ours, theirs = coarse(given), layer(given)
    assert ((ours - theirs).norm() / theirs.norm()).item() < 0.02
    back, true = (torch.autograd.grad(y, given, pull)[0] for y in (ours, theirs))
    assert ((back - true).norm() / true.norm()).item() < 0.05


def test_a_gradient_keeps_its_small_entries_beside_large_ones():
    """One byte keeps none of them: what is left of the gradient then points the same wrong way at every step."""
    torch.manual_seed(0)
    layer = Rounded(torch.nn.Linear(64, 96, bias=False))
    given, pull = torch.randn(32, 64, requires_grad=True), torch.randn(32, 96)
    pull[:, 5] = 1000
    (back,) = torch.autograd.grad(layer(given), given, pull)
    exact = (pull * layer.scale) @ layer.weight.float()
    without = exact - (pull[:, 5:6] * layer.scale[5]) @ layer.weight[5:6].float()  # of the small entries
    assert (back - exact).norm() < 0.05 * without.norm()


def test_a_row_of_zeros_stays_one():
    whole, scale = rounded(torch.zeros(2, 4))
    assert (whole == 0).all()
    assert scale.isfinite().all()


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
    head = Unembedding(table, LEARNT)
    if distill is None:
        ours = head.loss(hidden, labels, weights, row)
        whole = weighted_loss(logits_of(hidden, table, row), labels, weights)
    else:
        soft, states = torch.full((3, 50), distill), whole_numbers(3 * 60, WIDTH, 9).view(3, 60, WIDTH) / 100
        places = torch.randint(0, 60, (3, 50))  # several slots at a place, and more places than are taken at a time
        ours = head.loss(hidden, labels, weights, row, Teacher(states, places, soft))
        theirs = logits_of(at_places(states, places), table, row.detach())
        theirs[..., LEARNT] = -torch.inf
        whole = distilled_loss(logits_of(hidden, table, row), labels, weights, soft, theirs)
    torch.testing.assert_close(ours, whole, rtol=1e-4, atol=1e-5)
    for back, true in zip(
        torch.autograd.grad(ours, [hidden, row]), torch.autograd.grad(whole, [hidden, row]), strict=True
    ):
        torch.testing.assert_close(back, true, rtol=1e-4, atol=1e-5 * true.abs().max().item() + 1e-8)


def test_the_tail_of_a_wide_vocabulary_has_its_gradient():
    """Thousands of tokens, each of which is nearly impossible, and together are half of the distribution."""
    torch.manual_seed(0)
    table = torch.randn(20_000, WIDTH) / 20
    table[0], table[1:, 0] = 0, 1  # the whole tail pulls the hidden state one way
    hidden = torch.zeros(1, 8, WIDTH)
    hidden[..., 0] = -9.9  # against the head's 0: as likely as all of the tail together
    hidden, labels = hidden.requires_grad_(True), torch.zeros(1, 8, dtype=torch.long)
    row = table[LEARNT].clone()
    ours = Unembedding(table, LEARNT).loss(hidden, labels, torch.ones(1, 8), row)
    whole = weighted_loss(logits_of(hidden, table, row), labels, torch.ones(1, 8))
    (back,), (true,) = (torch.autograd.grad(loss, hidden) for loss in (ours, whole))
    assert true[..., 0].min() > 0.3 / 8
    torch.testing.assert_close(back, true, rtol=1e-4, atol=1e-6)


def test_a_batch_without_labels_teaches_nothing():
    hidden, table, row, labels, weights = question()
    loss = Unembedding(table, LEARNT).loss(hidden, labels.fill_(NO_LABEL), weights, row)
    assert loss.item() == 0


def test_more_slots_than_are_taken_at_a_time():
    hidden, table, row, labels, weights = (
        part.repeat_interleave(4, 0) if part.dim() > 1 and part.shape[0] == 3 else part for part in question()
    )
    assert (labels != NO_LABEL).sum() > ROWS
    ours = Unembedding(table, LEARNT).loss(hidden, labels, weights, row)
    torch.testing.assert_close(
        ours, weighted_loss(logits_of(hidden, table, row), labels, weights), rtol=1e-4, atol=1e-5
    )
