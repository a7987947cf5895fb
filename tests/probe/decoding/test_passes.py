"""What is kept of one pass for the next changes nothing: cached equals uncached, whatever is asked of which state."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import probe
from probe.decoding import ELASTIC, PassOptions, Sampler, Strides
from probe.decoding.passes import OwnPasses
from probe.errors import ProbeError
from probe.paradigms import Autoregressive, Block, Fluid, Masked
from probe.paradigms.horizon import new_horizon
from tests.probe.tiny import DECODERS, MASK, model_of, tokens_of

LENGTH = 12
CLEAN_FIRST = {"mask_id": MASK, "shift": False, "clean_shift": True, "attention": "masks_last"}
PARADIGMS = {
    "ar": Autoregressive(mask_id=MASK),
    "causal masked": Masked(mask_id=MASK, attention="causal"),
    "masks last": Masked(**CLEAN_FIRST),
    "block:1": Block(mask_id=MASK, attention="block:1"),
    "block:3": Block(mask_id=MASK, attention="block:3", shift=False),
    "block:4, shift": Block(mask_id=MASK, attention="block:4"),
    "fluid": Fluid(mask_id=MASK),
}
ARCHITECTURES = ("gpt2", "llama-gqa", "llama-mqa", "qwen3")


@functools.cache
def exact(variant: str, name: str):
    """A model in double precision, in which no two ways of adding up come to different decisions."""
    model = model_of(variant, PARADIGMS[name])
    model.backbone.double()
    new_horizon(model)
    return model


@st.composite
def questions(draw):
    """States of a text, each with some tokens changed since the last, and the slots asked for in each row."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 9999)))
    tokens = tokens_of(3, LENGTH, seed=draw(st.integers(0, 99)), masked=0.4)
    asked = []
    for _ in range(draw(st.integers(2, 5))):
        changed = torch.rand(tokens.shape, generator=generator) < draw(st.sampled_from([0.0, 0.05, 0.3]))
        changed &= torch.arange(LENGTH) >= draw(st.integers(0, LENGTH))
        tokens = torch.where(changed, torch.randint(0, MASK + 1, tokens.shape, generator=generator), tokens)
        width = draw(st.integers(1, 6))
        first = draw(st.lists(st.integers(0, LENGTH - width), min_size=3, max_size=3))
        asked.append((tokens, torch.tensor(first), width))
    return asked


@pytest.mark.parametrize("name", PARADIGMS)
@settings(deadline=None, max_examples=15)
@given(questions())
def test_the_logits_of_any_state_after_any_other(name, asked):
    model = exact("llama-gqa", name)
    kept, whole = OwnPasses(model, LENGTH), OwnPasses(model, None)
    for tokens, first, width in asked:
        one, other = kept(tokens, first, width), whole(tokens, first, width)
        wanted = first[:, None] + torch.arange(width)
        plain = model.logits(tokens)[torch.arange(3)[:, None], wanted].float()
        for seen in (one, other):
            torch.testing.assert_close(seen.logits, plain, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(one.hidden, other.hidden, atol=1e-9, rtol=1e-9)
    assert kept.made == whole.made == len(asked)


_BOTH = (True, False)


def rules_of(name: str) -> list:
    if name == "fluid":
        gammas = (0.02, 0.1, 0.9)
        lengths = (1, 5, ELASTIC)
        apart = [Strides(k, gamma, verify, overlap=False) for k in lengths for gamma in gammas for verify in _BOTH]
        return [*apart, *(Strides(k, gamma) for k in lengths for gamma in (None, 0.02)), Strides(4, temperature=1)]
    if name == "ar":
        return [Sampler(), Sampler(temperature=0.8)]
    return [
        Sampler(),
        Sampler("random", steps=4),
        Sampler("entropy", threshold=0.05),
        Sampler(block=2, temperature=0.5),
    ]


@pytest.mark.parametrize("variant", ARCHITECTURES)
@pytest.mark.parametrize("name", PARADIGMS)
def test_a_run_with_a_cache_is_the_run_without(name, variant):
    model, prompt = exact(variant, name), tokens_of(4, 5)
    for rule in rules_of(name):
        cached, whole = (
            probe.decode(model, prompt, 11, sampler=rule, seed=2, passes=PassOptions(cache=cache))
            for cache in (None, False)
        )
        for part in ("tokens", "states", "committed_at", "passes"):
            assert torch.equal(getattr(cached, part), getattr(whole, part)), (rule, part)
        torch.testing.assert_close(cached.confidence, whole.confidence, equal_nan=True, atol=1e-6, rtol=0)
        assert cached.forward_passes == whole.forward_passes
        assert cached.slots < whole.slots or whole.forward_passes == 1
        if name == "fluid":
            assert all(torch.equal(*both) for both in zip(_parts(cached), _parts(whole), strict=True))


def _parts(run):
    return vars(run.strides).values()


@pytest.mark.parametrize("variant", DECODERS)
def test_greedy_text_is_the_same_in_every_architecture(variant):
    for kind in (Autoregressive(mask_id=MASK), Block(mask_id=MASK), Fluid(mask_id=MASK)):
        model = model_of(variant, kind)
        runs = [probe.decode(model, tokens_of(3, 6), 9, passes=PassOptions(cache=cache)) for cache in (True, False)]
        assert torch.equal(runs[0].tokens, runs[1].tokens)


def test_what_is_computed_is_what_is_new():
    """Slots by hand: autoregression shows its prompt once and then each token; blocks show the block before, once it is
    written, and themselves at every step."""
    prompt = tokens_of(2, 5)
    ar = probe.decode(exact("llama-gqa", "ar"), prompt, 7)
    assert ar.slots == 2 * (5 + 6)
    block = probe.decode(exact("llama-gqa", "block:3"), tokens_of(2, 6), 6)  # two blocks of three steps
    assert block.slots == 2 * ((6 + 3) + 3 + 3 + (3 + 3) + 3 + 3)
    whole = probe.decode(exact("llama-gqa", "ar"), prompt, 7, passes=PassOptions(cache=False))
    assert whole.slots == 2 * sum(range(5, 12))


def test_where_there_is_no_exact_cache_it_is_refused():
    masked = model_of("llama-gqa", Masked(mask_id=MASK))
    with pytest.raises(ProbeError, match="full attention"):
        probe.decode(masked, tokens_of(1, 4), 3, passes=PassOptions(cache=True))
    assert probe.decode(masked, tokens_of(1, 4), 3).slots == 3 * 7
    ar = exact("llama-gqa", "ar")
    with pytest.raises(ProbeError, match="forward of one's own"):
        probe.decode(ar, tokens_of(1, 4), 3, passes=PassOptions(cache=True, forward=ar.run))
    with pytest.raises(ProbeError, match="an encoder"):
        probe.decode(exact("modernbert", "block:3"), tokens_of(1, 4), 3, passes=PassOptions(cache=True))
    encoder = model_of("modernbert", Masked(mask_id=MASK, shift=False))
    with pytest.raises(ProbeError, match="an encoder"):
        probe.decode(encoder, tokens_of(1, 4), 4, sampler=Sampler(block=2, cache="prefix"))


def test_an_encoder_computes_every_state_whole():
    encoder, seen = exact("modernbert", "block:3"), []
    forward = lambda canvas: seen.append(canvas.slots) or encoder.run(canvas)  # noqa: E731
    prompt = tokens_of(2, 5)
    run, whole = (probe.decode(encoder, prompt, 6, passes=PassOptions(forward=how)) for how in (None, forward))
    assert torch.equal(run.states, whole.states)
    assert run.slots == 2 * sum(seen)


def test_edits_see_every_state_whole():
    """An edit at a place counts places of the whole text, so open edits turn the cache off."""
    model, prompt, seen = exact("llama-gqa", "ar"), tokens_of(1, 4), []
    with probe.edit(model, [probe.zero("head_out", layer=0, head=1)]):
        model.before_run.append(lambda canvas: seen.append(canvas.slots))
        run = probe.decode(model, prompt, 3)
        model.before_run.pop()
        foreign = probe.decode(model, prompt, 3, passes=PassOptions(forward=model.run))
    assert seen == [4, 5, 6]
    assert torch.equal(run.tokens, foreign.tokens)
    assert run.slots == 4 + 5 + 6
