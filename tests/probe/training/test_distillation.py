"""Distillation: the target is what it is said to be, and is set only where the teacher knows as much."""

from __future__ import annotations

import pytest
import torch

from probe.paradigms import Masked, named
from probe.paradigms.paradigm import NO_LABEL, weighted_loss
from probe.training.distillation import distilled_loss, shares
from probe.training.lora import Adapters, at_places
from probe.training.recipe import LoraSettings
from tests.probe.tiny import MASK as TINY_MASK
from tests.probe.tiny import model_of, tokens_of

MASK, WORDS = 9, 10


def numbers(seed: int = 0) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(seed)
    labels = torch.tensor([[1, NO_LABEL, 4], [NO_LABEL, 2, 8]])
    return torch.randn(2, 3, WORDS), labels, torch.rand(2, 3), torch.randn(2, 3, WORDS)


def test_its_loss_is_its_definition():
    logits, labels, weights, teacher = numbers()
    teacher[..., MASK] = -torch.inf
    d, total = 0.3, 0.0
    for row, slot in (labels != NO_LABEL).nonzero().tolist():
        p, q = logits[row, slot].softmax(-1), teacher[row, slot].softmax(-1)
        divergence = sum((q[w] * (q[w] / p[w]).log()).item() for w in range(WORDS) if w != MASK)
        surprise = -p[labels[row, slot]].log().item()
        total += weights[row, slot].item() * ((1 - d) * surprise + d * divergence)
    found = distilled_loss(logits, labels, weights, torch.full((2, 3), d), teacher)
    torch.testing.assert_close(found.item(), total / 4, rtol=1e-5, atol=1e-6)


def test_none_of_it_is_the_plain_loss_and_all_of_it_is_least_at_the_teacher():
    logits, labels, weights, teacher = numbers()
    none, all_ = torch.zeros(2, 3), torch.ones(2, 3)
    torch.testing.assert_close(
        distilled_loss(logits, labels, weights, none, teacher), weighted_loss(logits, labels, weights)
    )
    assert distilled_loss(teacher, labels, weights, all_, teacher).abs().item() < 1e-6


def test_causal_paradigms_have_a_teacher_everywhere():
    text = torch.randint(0, MASK, (2, 12))
    for name in ("fluid", "autoregressive"):
        canvas = named(name)(mask_id=MASK).training_batch(text, torch.Generator().manual_seed(0)).canvas
        assert (shares(canvas, MASK, 0.5, shift=True) == 0.5).all()


def test_a_masked_slot_has_one_only_behind_all_that_is_seen():
    text = torch.tensor([[1, 2, MASK, 4, MASK, MASK]])
    canvas = named("masked")(mask_id=MASK).canvas(text)
    assert shares(canvas, MASK, 1.0, shift=True).tolist() == [[0, 0, 0, 1, 1, 1]]  # slot 3 answers for place 4
    assert shares(canvas, MASK, 1.0, shift=False).tolist() == [[0, 0, 0, 0, 1, 1]]


@pytest.mark.parametrize("variant", ["llama-tied", "gemma2"])
def test_the_teacher_is_the_model_without_its_adapters(variant):
    """Gemma's embedding is scaled on its way out, and its logits are capped."""
    model, text = model_of(variant, Masked(mask_id=TINY_MASK)), tokens_of(2, 9)
    expected = model.logits(text, "causal")
    adapters = Adapters(model, LoraSettings(rank=2, fold=False))
    places = torch.arange(1, 9).expand(2, -1)
    found = adapters.teacher_logits(text, places)
    expected[..., TINY_MASK] = -torch.inf
    torch.testing.assert_close(found, at_places(expected, places), atol=1e-5, rtol=0)
