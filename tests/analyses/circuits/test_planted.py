"""Circuits that were put there by hand are found again."""

from __future__ import annotations

import pytest
import torch

from probe.paradigms import Masked
from probe.readings import named
from tests.analyses.planted import MASK, induction, permuted_heads, relay

LATER = {"source": 5, "via": 4, "at": 2}  # what is asked for stands to the right
FULL = Masked(mask_id=MASK, shift=False)
QUESTIONS = {
    "early, concentrated": (relay(noise=0.03), "ar"),
    "late, spread": (relay(first=4, heads=(0, 1, 2, 3), noise=0.03), "ar"),
    "masked": (relay(paradigm=FULL, noise=0.03), "prefix"),
    "from the right": (relay(paradigm=FULL, noise=0.03, **LATER), "one_mask"),
    "through keys": (induction(through="k", noise=0.03), "ar"),
    "through queries": (induction(through="q", noise=0.03), "ar"),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_planted_model_answers(name):
    question, reading = QUESTIONS[name]
    batch = question.batch
    with torch.no_grad():
        clean, corrupt = (named(reading).logits(question.model, batch, which) for which in ("clean", "corrupt"))
    assert torch.equal(clean.argmax(-1), batch.target)
    assert torch.equal(corrupt.argmax(-1), batch.distractor)


def test_permuting_heads_changes_the_weights_and_not_the_function():
    question = relay(noise=0.05)
    other = permuted_heads(question.model, seed=1)
    key = "transformer.h.0.attn.c_proj.weight"
    assert not torch.equal(question.model.backbone.state_dict()[key], other.backbone.state_dict()[key])
    with torch.no_grad():
        torch.testing.assert_close(other.logits(question.batch.clean), question.model.logits(question.batch.clean))


def test_norms_do_nothing():
    """The trick the planted models rest on: the norms' outputs are their inputs."""
    question = relay(noise=0.05)
    seen = []
    for block in question.model.blocks:
        for norm in (block.ln_1, block.ln_2):
            norm.register_forward_hook(lambda module, taken, given: seen.append((taken[0], given)))
    with torch.no_grad():
        question.model.logits(question.batch.clean)
    assert len(seen) == 2 * question.model.n_layers
    for taken, given in seen:
        torch.testing.assert_close(given, taken, atol=1e-6 * float(taken.abs().max()), rtol=1e-5)
