"""A text ends at the first token to stop at: what stands before is what a run without it writes, and costs no more."""

from __future__ import annotations

import pytest
import torch

import probe
from probe.decoding import Flowing, PassOptions, Sampler, Strides
from probe.decoding.places import BEYOND, GIVEN
from probe.errors import ProbeError
from probe.paradigms import Autoregressive, Block, Flow, Fluid, Masked
from tests.probe.tiny import MASK, model_of, tokens_of

PROMPT, LENGTH = tokens_of(6, 4, seed=3), 12
LEFT_TO_RIGHT = {
    "ar": (Autoregressive(mask_id=MASK), Sampler()),
    "ar, drawn": (Autoregressive(mask_id=MASK), Sampler(temperature=1.5)),
    "fluid": (Fluid(mask_id=MASK), Strides(4)),
    "fluid, apart": (Fluid(mask_id=MASK), Strides(4, overlap=False)),
    "fluid, unverified": (Fluid(mask_id=MASK), Strides(4, 0.05, verify=False)),
    "block:1": (Block(mask_id=MASK, attention="block:1"), Sampler()),
    "block:3": (Block(mask_id=MASK, attention="block:3", shift=False), Sampler("left_to_right")),
}
ANY_ORDER = {
    "confidence": (Masked(mask_id=MASK, shift=False), Sampler("confidence")),
    "random, three steps": (Masked(mask_id=MASK), Sampler("random", steps=3)),
    "threshold in blocks": (Masked(mask_id=MASK), Sampler("entropy", threshold=0.1, block=4)),
    "llada": (Masked(mask_id=MASK, shift=False), Sampler(steps=6, block=4, schedule="llada")),
    "dream": (Masked(mask_id=MASK), Sampler("margin", steps=5, schedule="dream")),
    "block:4": (Block(mask_id=MASK, attention="block:4"), Sampler(steps=6)),
}


def common(run) -> int:
    """A token that ends some texts of a run early, and not all of them."""
    written = run.tokens[:, 4:]
    return max(written.unique().tolist(), key=lambda token: ((written == token).any(1).sum() % len(written)).item())


def stopped(rule, token):
    return type(rule)(**{**vars(rule), "stop": (token,)})


def is_right(run, token) -> None:
    """Whatever wrote it: an end is the first stop that was written, nothing behind it counts, all before it does."""
    for row, end in enumerate(run.ends.tolist()):
        written = run.tokens[row, 4:end].tolist()
        assert token not in written[:-1]
        assert end == run.tokens.shape[1] or written[-1] == token
        assert (run.tokens[row, end:] == token).all()
        assert (run.committed_at[row, end:] == BEYOND).all()
        assert (run.committed_at[row, 4:end] >= 0).all()
        assert (run.committed_at[row, :4] == GIVEN).all()
    assert run.text[0] == " ".join(map(str, run.tokens[0, 4 : int(run.ends[0])].tolist()))


@pytest.mark.parametrize("name", LEFT_TO_RIGHT)
def test_what_is_written_from_left_to_right_is_cut(name):
    kind, rule = LEFT_TO_RIGHT[name]
    model = model_of("llama-gqa", kind)
    model.backbone.double()
    free = probe.decode(model, PROMPT, LENGTH, sampler=rule, seed=1)
    token = common(free)
    run = probe.decode(model, PROMPT, LENGTH, sampler=stopped(rule, token), seed=1)
    is_right(run, token)
    assert run.ends.min() < run.tokens.shape[1]
    assert f"stop at {token}" in run.sampler
    if not run.sampler.count(" T "):  # rows share what is drawn
        for row, end in enumerate(run.ends.tolist()):
            assert torch.equal(run.tokens[row, :end], free.tokens[row, :end])
            saved = int(free.passes[row] - run.passes[row])
            in_one_stride = "fluid" in name and end > run.tokens.shape[1] - 4  # the last stride may hold the end
            assert saved > 0 or in_one_stride or end == run.tokens.shape[1]
            assert saved == 0 or end < run.tokens.shape[1]
            alone = probe.decode(model, PROMPT[row], LENGTH, sampler=stopped(rule, token))
            assert torch.equal(alone.tokens, run.tokens[row])
            assert alone.forward_passes == int(run.passes[row])
    if run.strides is not None:
        assert ((run.strides.start + run.strides.accepted) <= run.ends[run.strides.example]).all()


@pytest.mark.parametrize("name", {**LEFT_TO_RIGHT, **ANY_ORDER})
def test_a_cache_changes_nothing(name):
    kind, rule = {**LEFT_TO_RIGHT, **ANY_ORDER}[name]
    model = model_of("llama-gqa", kind)
    model.backbone.double()
    token = common(probe.decode(model, PROMPT, LENGTH, sampler=rule, seed=1))
    runs = [
        probe.decode(model, PROMPT, LENGTH, sampler=stopped(rule, token), seed=1, passes=PassOptions(cache=cache))
        for cache in (None, False)
    ]
    for part in ("tokens", "states", "committed_at", "changes", "passes", "ends"):
        assert torch.equal(getattr(runs[0], part), getattr(runs[1], part)), part


@pytest.mark.parametrize("name", ANY_ORDER)
def test_in_any_order_nothing_behind_the_first_stop_is_written_once_it_stands(name):
    kind, rule = ANY_ORDER[name]
    model = model_of("llama-gqa", kind)
    token = common(probe.decode(model, PROMPT, LENGTH, sampler=rule, seed=1))
    run = probe.decode(model, PROMPT, LENGTH, sampler=stopped(rule, token), seed=1)
    is_right(run, token)
    assert run.ends.min() < run.tokens.shape[1]
    place = torch.arange(run.tokens.shape[1])
    for step in range(len(run)):
        for row in range(len(PROMPT)):
            seen = run.states[row, step]
            stops = [at for at in range(4, len(place)) if seen[at] == token]
            end = stops[0] + 1 if stops else len(place)
            assert not run.commits[row, step, end:].any()
            assert run.confidence[row, step, end:].isnan().all()
            is_open = bool((seen[:end] == MASK).any())
            assert is_open == (step < int(run.passes[row]))


def test_a_flow_ends_its_text_when_it_is_done():
    model = model_of("llama-gqa", Flow(mask_id=MASK))
    free = probe.decode(model, PROMPT, LENGTH, sampler=Flowing(3))
    token = common(free)
    run = probe.decode(model, PROMPT, LENGTH, sampler=Flowing(3, stop=[token]))
    is_right(run, token)
    assert run.forward_passes == 3
    for row, end in enumerate(run.ends.tolist()):
        assert torch.equal(run.tokens[row, :end], free.tokens[row, :end])


def test_tokens_are_known_by_their_spelling():
    model = probe.load("zoo:ar", selftest="off")
    run = probe.decode(model, "When Luke and Keith went to the", 8, sampler=Sampler(stop=["museum", ","]))
    assert str(run.text).endswith(",")
    assert int(run.ends) < len(run.tokens)
    with pytest.raises(ProbeError, match="Did you mean 'museum'"):
        probe.decode(model, "When Luke", 4, sampler=Sampler(stop=("musuem",)))
    with pytest.raises(ProbeError, match="tokens from 0"):
        probe.decode(model, "When Luke", 4, sampler=Sampler(stop=(10**6,)))
