"""Surprise: -log p of the token that stands there, seen as the reading says."""

from __future__ import annotations

import torch

from probe.paradigms import named
from probe.readings import AR, OneMask, Prefix, surprise
from tests.probe.tiny import MASK, model_of, tokens_of


def by_hand(model, shown: torch.Tensor, texts: torch.Tensor, place: int, attention: str) -> torch.Tensor:
    logits = model.logits(shown, attention)[:, place - 1]
    logits[:, MASK] = -torch.inf
    return -logits.log_softmax(-1).gather(1, texts[:, place, None])[:, 0]


def test_it_is_what_the_logits_say():
    model, texts = model_of(paradigm=named("masked")(mask_id=MASK)), tokens_of(5, 9)
    for place in (3, 8):
        behind = texts.clone()
        behind[:, place:] = MASK
        alone = texts.clone()
        alone[:, place] = MASK
        for reading, shown, attention in (
            (AR(), behind, "causal"),
            (Prefix(), behind, "full"),
            (OneMask(), alone, "full"),
        ):
            found = surprise(model, texts, reading, at=[place])[:, 0]
            torch.testing.assert_close(found, by_hand(model, shown, texts, place, attention))


def test_places_are_columns_and_texts_are_rows():
    model, texts = model_of(), tokens_of(40, 9)
    both = surprise(model, texts, AR(), at=[2, 5])
    assert both.shape == (40, 2)
    assert torch.allclose(both[7:8, 1:], surprise(model, texts[7:8], AR(), at=[5]), atol=1e-5)
