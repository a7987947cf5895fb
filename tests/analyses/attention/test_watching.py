"""Every score of a pattern against its definition spelled out, and against patterns whose scores are known."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analyses.attention.marks import Words
from analyses.attention.watching import MEASURES, scores
from probe.paradigms import Autoregressive, Masked
from tests.analyses.attention.by_hand import random_pattern, scores_of
from tests.probe.tiny import MASK, model_of

PARADIGMS = {
    "causal": Autoregressive(mask_id=MASK),
    "full": Masked(mask_id=MASK),
    "full, no shift": Masked(mask_id=MASK, shift=False),
}
MODELS = {name: model_of("llama-mha", paradigm) for name, paradigm in PARADIGMS.items()}


def scored(model, canvas, pattern):
    found = scores(pattern, canvas.allowed, Words.of(model, canvas))
    return {name: found[..., place] for place, name in enumerate(MEASURES)}


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(list(MODELS)),
    tokens=st.lists(st.sampled_from([3, 4, 5, MASK]), min_size=2, max_size=9),
    padded=st.integers(0, 2),
    on_the_left=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_scores_are_what_their_definitions_say(kind, tokens, padded, on_the_left, seed):
    model = MODELS[kind]
    blanks = [7] * padded
    row = torch.tensor([blanks + tokens if on_the_left else tokens + blanks])
    padding = torch.zeros_like(row, dtype=torch.bool)
    padding[0, :padded] = on_the_left
    padding[0, len(tokens) :] |= not on_the_left
    canvas = model.canvas(row, padding=padding)
    pattern = random_pattern(canvas.allowed[0], 2, torch.Generator().manual_seed(seed))
    found = scored(model, canvas, pattern)
    gone = [None] * padded
    shown = gone + tokens if on_the_left else tokens + gone
    for head in range(2):
        expected = scores_of(pattern[0, head], shown, MASK, model.shift, canvas.allowed[0])
        for name, value in expected.items():
            assert found[name][0, head].item() == pytest.approx(value, abs=1e-5, nan_ok=True), name


@settings(max_examples=30, deadline=None)
@given(tokens=st.lists(st.sampled_from([3, 4, 5, 6]), min_size=3, max_size=10), seed=st.integers(0, 1000))
def test_reading_the_text_backwards_exchanges_the_directions(tokens, seed):
    model = MODELS["full"]
    row = torch.tensor([tokens])
    canvas, mirrored = model.canvas(row), model.canvas(row.flip(1))
    pattern = random_pattern(canvas.allowed[0], 3, torch.Generator().manual_seed(seed))
    found, reverse = scored(model, canvas, pattern), scored(model, mirrored, pattern.flip(2, 3))
    exchanged = {"previous": "next", "next": "previous", "induction": "reverse_induction",
                 "reverse_induction": "induction"}  # fmt: skip
    for name in ("previous", "next", "same", "duplicate", "induction", "reverse_induction", "entropy", "sink"):
        torch.testing.assert_close(found[name], reverse[exchanged.get(name, name)], equal_nan=True)
    torch.testing.assert_close(found["offset"], -reverse["offset"])


REPEATED = [5, 9, 12, 20, 5, 9, 12, 20]  # every token has one twin, four places away

LOOKING = {
    "previous": lambda q: q - 1,
    "next": lambda q: q + 1,
    "same": lambda q: q,
    "duplicate": lambda q: q + 4 if q < 4 else q - 4,
    "induction": lambda q: q - 3,
    "reverse_induction": lambda q: q + 3,
}


@pytest.mark.parametrize("kind", LOOKING)
def test_each_kind_of_head_scores_on_its_own_measure_and_on_no_other(kind):
    model, n = MODELS["full"], len(REPEATED)
    canvas = model.canvas(torch.tensor([REPEATED]))
    pattern = torch.full((1, 1, n, n), 1 / n)  # where it has nowhere to look, a head looks everywhere
    for q in range(n):
        if 0 <= LOOKING[kind](q) < n:
            pattern[0, 0, q] = torch.eye(n)[LOOKING[kind](q)]
    found = {name: value.item() for name, value in scored(model, canvas, pattern).items()}
    assert found[kind] == pytest.approx(1.0)
    others = {name: found[name] for name in LOOKING if name != kind}
    assert max(others.values()) < 0.15, others  # 1/8 of those that look everywhere


def test_entropy_is_counted_in_keys_that_are_seen():
    """Uniform attention is 1 whether a model sees the past or everything; looking at one token is 0."""
    tokens = torch.tensor([REPEATED])
    for name in ("causal", "full"):
        canvas = MODELS[name].canvas(tokens)
        uniform = (canvas.allowed / canvas.allowed.sum(-1, keepdim=True))[:, None]
        assert scored(MODELS[name], canvas, uniform)["entropy"].item() == pytest.approx(1.0)
        sharp = torch.eye(len(REPEATED))[None, None]
        assert scored(MODELS[name], canvas, sharp)["entropy"].item() == 0


def test_a_sink_is_found_wherever_it_stands():
    model = MODELS["full"]
    row = torch.tensor([[5, 9, 12, MASK, 20, 21]])
    pattern = torch.full((1, 1, 6, 6), 0.02)
    pattern[..., 3] = 0.9
    found = {name: value.item() for name, value in scored(model, model.canvas(row), pattern).items()}
    assert (found["sink"], found["sink_place"], found["sink_masked"]) == (pytest.approx(0.9), 3, 1)
    uniform = {
        name: value.item() for name, value in scored(model, model.canvas(row), torch.full((1, 1, 6, 6), 1 / 6)).items()
    }
    assert uniform["sink"] == pytest.approx(1 / 6)


def test_masks_are_no_tokens():
    """They repeat nothing, and without a repeated token there is no score to speak of."""
    model = MODELS["full"]
    found = scored(model, model.canvas(torch.tensor([[5, MASK, MASK, 9]])), torch.full((1, 1, 4, 4), 0.25))
    assert all(math.isnan(found[name].item()) for name in ("duplicate", "induction", "reverse_induction"))


def test_a_long_text_is_gone_through_in_pieces(monkeypatch):
    from analyses.attention import watching

    model = MODELS["full"]
    row = torch.randint(3, 20, (2, 40), generator=torch.Generator().manual_seed(0))
    canvas = model.canvas(row)
    pattern = random_pattern(canvas.allowed[0], 4, torch.Generator().manual_seed(1)).expand(2, -1, -1, -1)
    whole = scores(pattern, canvas.allowed, Words.of(model, canvas))
    monkeypatch.setattr(watching, "_AT_ONCE", 2000)  # a few queries at a time
    torch.testing.assert_close(scores(pattern, canvas.allowed, Words.of(model, canvas)), whole)
